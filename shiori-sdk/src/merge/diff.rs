//! The longest common subsequence of two lists, with bounded work.

use super::hash::Set;

/// The positions of a longest common subsequence, ascending in both lists. The same lists always
/// give the same positions.
///
/// Beyond `max_edits` edits among the entries that *both* lists contain, the middle of the lists is
/// treated as having nothing in common. This bounds the work to about `max_edits * (n + m)` steps
/// and the memory to `max_edits²/2` words. New and removed entries do not count as edits: only
/// reordering does, and the repetition of entries such as blank lines.
pub(super) fn matches(a: &[u32], b: &[u32], max_edits: usize) -> Vec<(usize, usize)> {
    let prefix = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a[prefix..], &b[prefix..]);
    let suffix = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a_mid, b_mid) = (&a_rest[..a_rest.len() - suffix], &b_rest[..b_rest.len() - suffix]);

    // Entries that only one list contains match nothing. Without them the search is short even if
    // the whole document was rewritten.
    let (a_at, b_at) = (shared(a_mid, b_mid), shared(b_mid, a_mid));
    let pick = |list: &[u32], at: &[usize]| at.iter().map(|&i| list[i]).collect::<Vec<_>>();
    let middle = shortest_edit(&pick(a_mid, &a_at), &pick(b_mid, &b_at), max_edits);
    let middle = middle.unwrap_or_default();

    let mut matches: Vec<_> = (0..prefix).map(|i| (i, i)).collect();
    matches.extend(middle.into_iter().map(|(i, j)| (prefix + a_at[i], prefix + b_at[j])));
    matches.extend((0..suffix).rev().map(|i| (a.len() - 1 - i, b.len() - 1 - i)));
    matches
}

/// The positions in `list` of entries that `other` contains.
fn shared(list: &[u32], other: &[u32]) -> Vec<usize> {
    let other: Set<u32> = other.iter().copied().collect();
    (0..list.len()).filter(|&i| other.contains(&list[i])).collect()
}

/// The greedy algorithm of E. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986);
/// `None` if the lists are more than `max_edits` apart.
///
/// Round `d` has `d + 1` diagonals. The `i`-th of them is `x - y = 2i - d`; its entry is the
/// furthest `x` that `d` edits reach on it.
fn shortest_edit(a: &[u32], b: &[u32], max_edits: usize) -> Option<Vec<(usize, usize)>> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for d in 0..=max_edits.min(a.len() + b.len()) {
        let mut round = Vec::with_capacity(d + 1);
        for i in 0..=d {
            let mut x = rounds.last().map_or(0, |last| step(last, i).1);
            let mut y = x + d - 2 * i;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            round.push(x);
            if x >= a.len() && y >= b.len() {
                rounds.push(round);
                return Some(trace(&rounds, i));
            }
        }
        rounds.push(round);
    }
    None
}

/// The edit that leads furthest on diagonal `i`: the diagonal of the last round that it starts
/// from, and the `x` that it leads to.
fn step(last: &[usize], i: usize) -> (usize, usize) {
    if i == 0 || (i < last.len() && last[i - 1] < last[i]) {
        (i, last[i])
    } else {
        (i - 1, last[i - 1] + 1)
    }
}

/// Follows the path from the end of the last round back to the start, and collects its matches.
fn trace(rounds: &[Vec<usize>], mut i: usize) -> Vec<(usize, usize)> {
    let mut matches = Vec::new();
    for d in (0..rounds.len()).rev() {
        let (from, start) = if d == 0 { (0, 0) } else { step(&rounds[d - 1], i) };
        matches.extend((start..rounds[d][i]).rev().map(|x| (x, x + d - 2 * i)));
        i = from;
    }
    matches.reverse();
    matches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The length by dynamic programming, for comparison.
    fn longest(a: &[u32], b: &[u32]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut diagonal = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
                diagonal = above;
            }
        }
        row[b.len()]
    }

    fn assert_common(a: &[u32], b: &[u32], matches: &[(usize, usize)]) {
        assert!(matches.iter().all(|&(i, j)| a[i] == b[j]));
        assert!(matches.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    }

    proptest! {
        #[test]
        fn matches_are_a_longest_common_subsequence(
            a in prop::collection::vec(0_u32..6, 0..40),
            b in prop::collection::vec(0_u32..6, 0..40),
        ) {
            let matches = matches(&a, &b, 1_000);
            assert_common(&a, &b, &matches);
            prop_assert_eq!(matches.len(), longest(&a, &b));
        }
    }

    #[test]
    fn beyond_the_bound_only_the_ends_are_common() {
        let middle: Vec<u32> = (1..10_000).collect();
        let turned = middle.iter().rev();
        let a: Vec<u32> = [0].iter().chain(&middle).chain(&[0]).copied().collect();
        let b: Vec<u32> = [0].iter().chain(turned).chain(&[0]).copied().collect();
        assert_eq!(matches(&a, &b, 1_000), [(0, 0), (10_000, 10_000)]);
    }

    #[test]
    fn new_entries_do_not_count_towards_the_bound() {
        let a: Vec<u32> = (0..10_000).collect();
        let b: Vec<u32> = (0..10_000).map(|i| if i % 100 == 50 { i } else { i + 10_000 }).collect();
        let matches = matches(&a, &b, 1_000);
        assert_common(&a, &b, &matches);
        assert_eq!(matches.len(), 100);
    }
}
