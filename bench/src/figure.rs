//! One figure of a row: what every run gave, and the median, least and greatest of them.

use serde::Serialize;

/// A measured quantity: one value per run, in the order of the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, such as `CPU per destination`.
    pub name: String,
    /// Its unit, such as `µs/s`.
    pub unit: String,
    /// Value of each run.
    pub runs: Vec<f64>,
    /// Middle value.
    pub median: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Median of the ratios to another sender's runs of the same minute.
    pub ratio: Option<Ratio>,
}

/// How many times as much as another sender in the same run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// Whom it is compared with.
    pub to: String,
    /// Median over the runs of own value ÷ the other's.
    pub median: f64,
    /// Least of these.
    pub min: f64,
    /// Greatest of these.
    pub max: f64,
}

impl Figure {
    /// A figure of `runs`, of which there is at least one.
    ///
    /// # Panics
    /// Without a run.
    pub fn new(name: &str, unit: &str, runs: Vec<f64>) -> Self {
        let (min, median, max) = spread(&runs);
        Self { name: name.into(), unit: unit.into(), runs, median, min, max, ratio: None }
    }

    /// A figure of one value: a count that should be the same in every run.
    pub fn single(name: &str, unit: &str, value: f64) -> Self {
        Self::new(name, unit, vec![value])
    }

    /// The same with its ratio to `other`'s runs, one by one. Both have as many.
    #[must_use]
    pub fn compared(mut self, to: &str, other: &[f64]) -> Self {
        let ratios: Vec<f64> = self
            .runs
            .iter()
            .zip(other)
            .filter(|(_, other)| **other > 0.0)
            .map(|(own, other)| own / other)
            .collect();
        if !ratios.is_empty() {
            let (min, median, max) = spread(&ratios);
            self.ratio = Some(Ratio { to: to.into(), median, min, max });
        }
        self
    }
}

/// Least, middle and greatest.
///
/// # Panics
/// Without a value.
pub fn spread(values: &[f64]) -> (f64, f64, f64) {
    assert!(!values.is_empty(), "a figure has at least one run");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    (sorted[0], median, sorted[sorted.len() - 1])
}

/// The value below which `share` (0..=1) of `values` lie, by nearest rank. 0 of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank"
    )]
    let rank = (share * last as f64).round() as usize;
    values.get(rank.min(last)).copied().unwrap_or(0.0)
}

/// Three significant digits, without an exponent: `0.0123`, `1.23`, `123`, `12300`.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size == 0.0 || size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.09995 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_is_between_the_middle_two() {
        let figure = Figure::new("CPU", "ms", vec![4.0, 1.0, 3.0, 2.0]);
        assert!(
            (figure.median - 2.5).abs() < 1e-9
                && (figure.min - 1.0).abs() < 1e-9
                && (figure.max - 4.0).abs() < 1e-9
        );
    }

    #[test]
    fn ratios_are_taken_run_by_run() {
        let figure = Figure::new("CPU", "ms", vec![2.0, 30.0, 4.0]).compared("reference", &[1.0, 10.0, 4.0]);
        let ratio = figure.ratio.unwrap();
        assert!((ratio.median - 2.0).abs() < 1e-9 && (ratio.max - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let mut values: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        assert!((quantile(&mut values, 0.99) - 100.0).abs() < 1e-9);
        assert!(quantile(&mut [], 0.5).abs() < 1e-9);
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(
            [0.0, 0.01234, 1.234, 99.99, 12_345.6].map(digits),
            ["0", "0.0123", "1.23", "100", "12346"]
        );
    }
}
