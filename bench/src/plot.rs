//! A plot of CPU against destinations, both logarithmic, as SVG that can be read on light and on dark ground.

use std::fmt::Write as _;

use crate::report::Row;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Middle tones, told apart on white and on black, also without red or green sight.
const COLOURS: [&str; 8] =
    ["#0a84c6", "#d9730d", "#2f9e6e", "#b5539c", "#8a7d00", "#6a6fd6", "#c2410c", "#7a7a7a"];

/// One sender's line.
struct Line<'a> {
    sender: &'a str,
    points: Vec<(f64, f64)>,
}

/// The plot of the measure `fan_out`: CPU µs per destination and second.
pub fn cpu_against_destinations(rows: &[Row]) -> String {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for row in rows.iter().filter(|row| row.measure == "fan_out") {
        let (Some(at), Some(figure)) = (row.at, row.figures.first()) else { continue };
        if at <= 0.0 || figure.median <= 0.0 {
            continue;
        }
        let place = lines.iter().position(|line| line.sender == row.sender).unwrap_or_else(|| {
            lines.push(Line { sender: &row.sender, points: Vec::new() });
            lines.len() - 1
        });
        lines[place].points.push((at, figure.median));
    }
    draw(&lines)
}

fn draw(lines: &[Line<'_>]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let across = Axis::over(all().map(|(at, _)| at), LEFT, WIDTH - RIGHT);
    let up = Axis::over(all().map(|(_, value)| value), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>text {{ fill: #333 }} .grid {{ stroke: #8886; stroke-width: 1 }} .line {{ fill: none; stroke-width: 2.5 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">CPU time per destination of one 5 Mb/s channel, µs per second</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">destinations</text>\n",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 12.0,
    );
    for tick in across.ticks() {
        let x = across.place(tick);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{}\"/>", HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            HEIGHT - BOTTOM + 18.0
        );
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/>", WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let mut labels: Vec<f64> = Vec::new();
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(at, value)| format!("{:.1} {:.1}", across.place(*at), up.place(*value)))
            .collect();
        let _ = writeln!(svg, "<path class=\"line\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
        for (at, value) in &line.points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}: {value:.0}</title></circle>",
                across.place(*at),
                up.place(*value),
                escaped(line.sender)
            );
        }
        if let Some((at, value)) = line.points.last() {
            let y = free_place(&mut labels, up.place(*value) + 4.0);
            let x = across.place(*at) + 10.0;
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" style=\"fill:{colour}\">{}</text>",
                escaped(line.sender)
            );
        }
    }
    svg + "</svg>\n"
}

/// The place nearest to `wanted` where no label is yet.
fn free_place(taken: &mut Vec<f64>, wanted: f64) -> f64 {
    const APART: f64 = 13.0;
    let free = |y: f64| taken.iter().all(|other| (other - y).abs() >= APART);
    let steps = (0..100).map(f64::from).flat_map(|step| [wanted - step, wanted + step]);
    let found = steps.into_iter().find(|y| free(*y)).unwrap_or(wanted);
    taken.push(found);
    found
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A logarithmic axis: whole decades that hold all values, drawn from one place to another.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, 1.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        let low = if low.is_finite() { low } else { 1.0 };
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * (value.log10() - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![10_f64.powf(self.low)];
        while let Some(last) = ticks.last().filter(|last| last.log10() < self.high - 0.5) {
            ticks.push((last * 10.0).round());
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;

    #[test]
    fn each_sender_has_a_line_and_a_label() {
        let row = |sender: &str, at: f64, value: f64| Row {
            measure: "fan_out".into(),
            at: Some(at),
            sender: sender.into(),
            figures: vec![Figure::single("CPU", "µs", value)],
            ..Row::default()
        };
        let rows = [row("A & B", 1.0, 7_000.0), row("A & B", 1_000.0, 150.0), row("C", 1.0, 9_000.0)];
        let svg = cpu_against_destinations(&rows);
        assert_eq!(svg.matches("class=\"line\"").count(), 2);
        assert!(svg.contains(">A &amp; B</text>") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains(">1000</text>"), "ticks are whole decades: {svg}");
    }

    #[test]
    fn nothing_measured_is_an_empty_plot() {
        assert!(cpu_against_destinations(&[]).ends_with("</svg>\n"));
    }
}
