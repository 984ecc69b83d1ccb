//! Man pages and shell completions, made by the programs themselves from what they parse: they cannot say anything else.
//!
//! | typed | writes |
//! |---|---|
//! | `PROGRAM completions bash` | the shell's completion script, to standard output; `zsh`, `fish`, `elvish`, `powershell` too |
//! | `PROGRAM man DIR` | `PROGRAM.1` or `PROGRAM.8` into a folder, and a page for each command of a program that has some |
//!
//! Packages are made with them; a program without commands of its own does not mention them in its help.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// What a program's page says beyond its options; texts without control characters.
#[derive(Debug, Clone, Copy)]
pub struct Manual {
    /// Of the page: `1` for who watches, `8` for servers.
    pub section: &'static str,
    /// Each exit status and what it means.
    pub exit: &'static [(&'static str, &'static str)],
    /// Each file and what it holds.
    pub files: &'static [(&'static str, &'static str)],
    /// Environment beyond that of the options.
    pub environment: &'static [(&'static str, &'static str)],
    /// Each a command, and what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

/// The statuses of every program here.
pub const EXIT: &[(&str, &str)] = &[
    ("0", "Done, or ended by SIGINT or SIGTERM."),
    ("1", "Failed while running."),
    ("2", "Bad usage or configuration."),
];

/// What every program here reads beyond its options.
pub const ENVIRONMENT: &[(&str, &str)] =
    &[("MASTHEAD_LOG", "Which lines are logged, such as debug or push_server=trace.")];

/// When what the pages say beyond the programs' own words was last changed.
const DATE: &str = "2026-11-22";

/// The programs, for each to name the others, with the sections of their pages.
const PROGRAMS: [(&str, &str); 5] = [
    ("masthead", "8"),
    ("masthead-acquisition", "8"),
    ("masthead-client", "1"),
    ("masthead-database-server", "8"),
    ("masthead-push-server", "8"),
];

/// Does what a program without commands is asked for by `man DIR` or `completions SHELL`; `None`: it is asked for something else.
pub fn asked(command: Command, manual: &Manual) -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).take(3).collect();
    let [word, operand] = &words[..] else { return None };
    match word.to_str()? {
        "man" => Some(write_pages(command, manual, Path::new(operand))),
        "completions" => match operand.to_str()?.parse() {
            Ok(shell) => Some(completions(command, shell)),
            Err(error) => {
                eprintln!("{error}");
                Some(ExitCode::from(2))
            }
        },
        _ => None,
    }
}

/// Prints the completion script for a shell.
pub fn completions(mut command: Command, shell: Shell) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    // A reader that has seen enough is no failure.
    let _ = io::stdout().write_all(&script);
    ExitCode::SUCCESS
}

/// Writes the pages of `command` into `folder`, which is made where missing.
pub fn write_pages(mut command: Command, manual: &Manual, folder: &Path) -> ExitCode {
    command.build();
    match fs::create_dir_all(folder).and_then(|()| write_page(&command, manual, folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_page(command: &Command, manual: &Manual, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    fs::write(folder.join(format!("{name}.{}", manual.section)), page(command, &name, manual)?)?;
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(shown).try_for_each(|command| write_page(command, manual, folder))
}

/// One page, by the usual order of sections: man-pages(7).
fn page(command: &Command, name: &str, manual: &Manual) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    let (title, section, version) =
        (escaped(&name.to_uppercase()), manual.section, env!("CARGO_PKG_VERSION"));
    writeln!(page, ".TH {title} {section} {DATE} \"masthead {version}\" Masthead")?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        commands(&mut page, command, name, manual.section)?;
    }
    // A command's page leaves what holds for the whole program to the program's.
    if PROGRAMS.iter().any(|(program, _)| *program == name) {
        table(&mut page, "EXIT STATUS", manual.exit)?;
        table(&mut page, "FILES", manual.files)?;
        let variables: Vec<(String, String)> = command.get_arguments().filter_map(variable).collect();
        let variables = variables.iter().map(|(name, what)| (name.as_str(), what.as_str()));
        let variables: Vec<(&str, &str)> = variables.chain(manual.environment.iter().copied()).collect();
        table(&mut page, "ENVIRONMENT", &variables)?;
        table(&mut page, "EXAMPLES", manual.examples)?;
    }
    see_also(&mut page, name)?;
    Ok(tidied(&String::from_utf8_lossy(&page)))
}

/// Without what mandoc warns of: empty lines, breaks in a row, and blanks at the end of a line.
fn tidied(page: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = page.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.dedup_by(|line, earlier| *line == ".br" && *earlier == ".br");
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

fn commands(page: &mut Vec<u8>, command: &Command, name: &str, section: &str) -> io::Result<()> {
    writeln!(page, ".SH COMMANDS")?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(
            page,
            ".TP\n.BR {} ({section})\n{}",
            escaped(&format!("{name}-{}", command.get_name())),
            text(&about)
        )?;
    }
    Ok(())
}

/// Terms and what they mean; nothing for none.
fn table(page: &mut Vec<u8>, title: &str, rows: &[(&str, &str)]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(page, ".SH {}", if title.contains(' ') { format!("\"{title}\"") } else { title.to_owned() })?;
    for (term, meaning) in rows {
        writeln!(page, ".TP\n.B {}\n{}", escaped(term), text(meaning))?;
    }
    Ok(())
}

fn see_also(page: &mut Vec<u8>, name: &str) -> io::Result<()> {
    writeln!(page, ".SH \"SEE ALSO\"")?;
    let others: Vec<String> = PROGRAMS
        .iter()
        .filter(|(program, _)| *program != name)
        .map(|(program, section)| format!(".BR {} ({section})", escaped(program)))
        .collect();
    writeln!(page, "{}", others.join(" ,\n"))
}

fn variable(argument: &Arg) -> Option<(String, String)> {
    let variable = argument.get_env()?.to_str()?.to_owned();
    let option =
        argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"));
    Some((variable, format!("As {option}, which goes before it.")))
}

/// Text of a page: a line that begins with a dot or an apostrophe would be a request.
fn text(text: &str) -> String {
    let escaped = escaped(text);
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: Manual = Manual {
        section: "8",
        exit: EXIT,
        files: &[("/etc/masthead/topology.toml", ".the site")],
        environment: ENVIRONMENT,
        examples: &[("masthead-acquisition --id roof", "Runs one.")],
    };

    fn command() -> Command {
        Command::new("masthead-acquisition")
            .about("Captures")
            .arg(Arg::new("id").long("id").env("MASTHEAD_ID").help("Its id"))
            .subcommand(Command::new("seen").about("Is seen"))
            .subcommand(Command::new("unseen").hide(true))
    }

    #[test]
    fn a_page_has_every_section_and_hides_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(command(), &MANUAL, folder.path());
        let page = fs::read_to_string(folder.path().join("masthead-acquisition.8")).unwrap();
        for section in
            ["NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "\"EXIT STATUS\"", "FILES", "ENVIRONMENT", "EXAMPLES"]
        {
            assert!(page.contains(&format!(".SH {section}\n")), "{section} is not in {page}");
        }
        assert!(page.starts_with(".TH MASTHEAD"), "{page}");
        assert!(page.contains(".B MASTHEAD_ID\nAs \\-\\-id, which goes before it.\n"), "{page}");
        assert!(page.contains("\\&.the site") && !page.contains("unseen"), "{page}");
        assert!(page.ends_with(".BR masthead\\-push\\-server (8)\n"), "{page}");
        let seen = fs::read_to_string(folder.path().join("masthead-acquisition-seen.8")).unwrap();
        assert!(seen.contains("Is seen") && !seen.contains("EXIT STATUS"), "{seen}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
