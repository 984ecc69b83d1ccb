//! From what each host holds to what is held: stretches of one channel with the same holders from end to end.

use std::collections::{BTreeMap, BTreeSet};

use protocols::ids::HostId;
use protocols::recording::{Extent, Span};
use protocols::time::ClusterTime;

/// A stretch that the same hosts hold, nothing missing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) span: Span,
    /// Of the largest replica, reckoned by length where it ends within an extent.
    pub(crate) bytes: u64,
    /// At least one.
    pub(crate) holders: BTreeSet<HostId>,
    /// Two of them tell different digests of the same dates.
    pub(crate) differs: bool,
}

/// What the extents of all hosts come to, ascending, no two neighbours alike. One pass over their ends.
pub(crate) fn held<'a>(extents: impl IntoIterator<Item = (&'a HostId, &'a Extent)>) -> Vec<Held> {
    let mut ends: BTreeMap<ClusterTime, Vec<(bool, &HostId, &Extent)>> = BTreeMap::new();
    for (host, extent) in extents {
        ends.entry(extent.from).or_default().push((true, host, extent));
        ends.entry(extent.to).or_default().push((false, host, extent));
    }
    let mut open: BTreeMap<(&HostId, ClusterTime), &Extent> = BTreeMap::new();
    let mut all: Vec<Held> = Vec::new();
    let mut from = ClusterTime(0);
    for (to, changes) in ends {
        let span = Span { from, to };
        if !open.is_empty() {
            append(&mut all, stretch(span, &open));
        }
        for (begins, host, extent) in changes {
            if begins {
                open.insert((host, extent.from), extent);
            } else {
                open.remove(&(host, extent.from));
            }
        }
        from = to;
    }
    all
}

fn stretch(span: Span, open: &BTreeMap<(&HostId, ClusterTime), &Extent>) -> Held {
    let share = |extent: &&Extent| {
        let (part, whole) = (span.length().as_millis(), extent.span().length().as_millis().max(1));
        u64::try_from(u128::from(extent.bytes) * part / whole).unwrap_or(u64::MAX)
    };
    let mut by_dates: BTreeMap<(ClusterTime, ClusterTime), &Extent> = BTreeMap::new();
    let differs = open.values().any(|extent| {
        let first = *by_dates.entry((extent.from, extent.to)).or_insert(extent);
        first.digest != extent.digest
    });
    Held {
        span,
        bytes: open.values().map(share).max().unwrap_or(0),
        holders: open.keys().map(|(host, _)| (*host).clone()).collect(),
        differs,
    }
}

fn append(all: &mut Vec<Held>, next: Held) {
    match all.last_mut() {
        Some(last)
            if last.span.to == next.span.from
                && last.holders == next.holders
                && last.differs == next.differs =>
        {
            last.span.to = next.span.to;
            last.bytes += next.bytes;
        }
        _ => all.push(next),
    }
}

#[cfg(test)]
mod tests {
    use protocols::ids::ChannelId;
    use protocols::recording::Digest;

    use super::*;

    fn extent(from: u64, to: u64) -> Extent {
        let (channel, digest) = (ChannelId(1), Digest::default());
        let (from, to) = (ClusterTime(from), ClusterTime(to));
        Extent { channel, from, to, segments: 1, bytes: 10 * (to.0 - from.0), digest }
    }

    /// Dates, holders and bytes of what comes of these extents of hosts `a` and `b`.
    fn swept(a: &[Extent], b: &[Extent]) -> Vec<(u64, u64, String, u64)> {
        let (host_a, host_b): (HostId, HostId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let extents =
            a.iter().map(|extent| (&host_a, extent)).chain(b.iter().map(|extent| (&host_b, extent)));
        let line = |held: Held| {
            let holders: Vec<&str> = held.holders.iter().map(HostId::as_str).collect();
            (held.span.from.0, held.span.to.0, holders.concat(), held.bytes)
        };
        held(extents).into_iter().map(line).collect()
    }

    fn line(from: u64, to: u64, holders: &str) -> (u64, u64, String, u64) {
        (from, to, holders.to_owned(), (to - from) * 10)
    }

    #[test]
    fn stretches_are_cut_where_the_holders_change_and_nowhere_else() {
        assert_eq!(swept(&[extent(0, 100)], &[extent(0, 100)]), [line(0, 100, "ab")]);
        let one_lacks = swept(&[extent(0, 100)], &[extent(0, 40), extent(60, 100)]);
        assert_eq!(one_lacks, [line(0, 40, "ab"), line(40, 60, "a"), line(60, 100, "ab")]);
        let hole = swept(&[extent(0, 40), extent(60, 70)], &[extent(0, 40)]);
        assert_eq!(hole, [line(0, 40, "ab"), line(60, 70, "a")]);
        // Two rows of one host that touch are one, though a boot lies between.
        assert_eq!(swept(&[extent(0, 40), extent(40, 70)], &[]), [line(0, 70, "a")]);
        assert_eq!(swept(&[extent(0, 40)], &[extent(40, 70)]), [line(0, 40, "a"), line(40, 70, "b")]);
        assert_eq!(swept(&[], &[]), []);
    }

    #[test]
    fn equal_dates_with_different_digests_differ() {
        let (a, b): (HostId, HostId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let other = Extent { digest: Digest([1; 16]), ..extent(0, 100) };
        assert!(held([(&a, &extent(0, 100)), (&b, &other)])[0].differs);
        assert!(!held([(&a, &extent(0, 100)), (&b, &Extent { to: ClusterTime(99), ..other })])[0].differs);
    }
}
