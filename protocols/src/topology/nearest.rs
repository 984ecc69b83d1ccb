//! "Did you mean …?": the candidate that a mistyped word is closest to.

/// The nearest candidate, if it is near enough to have been meant: at most one edit for each three characters begun.
///
/// An edit is an insertion, a deletion, a substitution, or two neighbours swapped.
pub(super) fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let written: Vec<char> = written.to_lowercase().chars().take(MAX_WORD_CHARS).collect();
    let allowed = written.len().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| {
            (distance(&written, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate)
        })
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits that turn one word into the other (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// What follows in a longer word is not compared.
const MAX_WORD_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_understood_and_another_word_is_not() {
        let keys = ["address", "channels", "id", "ttl"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("chanels", keys), Some("channels"));
        assert_eq!(nearest("di", keys), Some("id"));
        assert_eq!(nearest("TTL", keys), Some("ttl"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
