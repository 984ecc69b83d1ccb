//! `channels`: print the list and end.

use std::io::{Write, stdout};
use std::time::Duration;

use link::clock::Clock;
use link::shutdown::Shutdown;
use protocols::p2_directory::ChannelList;

use super::session::{Session, Told};
use super::{Error, Format, Options, colour};
use crate::listing;
use crate::viewer::{Input, Notice};

/// The directory may take this long; then the kept list is printed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(options: &Options, shutdown: &Shutdown) -> Result<(), Error> {
    let mut session = Session::start(options)?;
    session.give(Input::List { tunings: true });
    let cause = tokio::select! {
        answer = answer(&mut session) => match answer {
            Ok(list) => {
                print(options.format, &list, None);
                return Ok(());
            }
            Err(cause) => cause,
        },
        () = tokio::time::sleep(ANSWER_TIMEOUT) => "no answer".to_owned(),
        () = shutdown.requested() => return Ok(()),
    };
    let database = options.database.clone();
    let Some(kept) = session.kept() else { return Err(Error::NoDirectory { database, cause }) };
    let age = kept.age(Clock::wall());
    eprintln!(
        "the database server at {database} does not answer ({cause}); this is the list of {} ago",
        for_people(age)
    );
    print(options.format, &kept.list, Some(age));
    Ok(())
}

/// The list, or why there is none.
pub(super) async fn answer(session: &mut Session) -> Result<ChannelList, String> {
    loop {
        for told in session.told() {
            match told {
                Told::Notice(Notice::Channels(list)) => return Ok(list),
                Told::Notice(Notice::DirectoryDown { cause }) => return Err(cause),
                Told::Notice(Notice::Refused(refusal)) => return Err(refusal.to_string()),
                _ => {}
            }
        }
        session.step().await;
    }
}

pub(super) fn print(format: Format, list: &ChannelList, age: Option<Duration>) {
    let text = match format {
        Format::Text => {
            if let Some(remark) = listing::remark(list) {
                eprintln!("{remark}");
            }
            listing::table(list, colour())
        }
        Format::Json => listing::json(list, age.map(|age| age.as_secs())),
    };
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = stdout().write_all(text.as_bytes());
}

/// A span in its largest unit.
pub(super) fn for_people(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
