//! Gaps in, the fewest calls out: pure.

use std::collections::HashMap;

use crate::domain::{Operation, Slice, Subject, Window};

/// The fewest calls that cover all gaps, which are of one group (see [`group_of`]).
///
/// Windows without a grid are good only as they are: a call each. On a grid a call may span several gaps and what lies
/// between them, as long as the expected reply stays under `max_rows`; and the phones of one channel may share a call
/// for the whole channel. Calls are scarce, bytes are not: with as many calls either way, the wider subject wins, since
/// its slices answer more.
pub fn plan<O: Operation>(operation: &O, gaps: &[&Slice<O::Subject>], max_rows: u64) -> Vec<Slice<O::Subject>> {
    if operation.grid().is_none() {
        let mut calls: Vec<Slice<O::Subject>> = Vec::with_capacity(gaps.len());
        for gap in gaps {
            if !calls.contains(gap) {
                calls.push((*gap).clone());
            }
        }
        return calls;
    }
    let (mut subjects, mut own) = (Vec::new(), HashMap::<&O::Subject, Vec<Window>>::new());
    for gap in gaps {
        let windows = own.entry(&gap.subject).or_insert_with(|| {
            subjects.push(&gap.subject);
            Vec::new()
        });
        windows.push(gap.window);
    }
    if subjects.is_empty() {
        return Vec::new();
    }
    let all = gaps.iter().map(|gap| gap.window).collect();
    let joint = spans(operation, &operation.joint_subject(&subjects), all, max_rows);
    if joint.len() <= subjects.len() {
        return joint;
    }
    let apart: Vec<_> = subjects
        .iter()
        .flat_map(|subject| spans(operation, subject, own.remove(*subject).unwrap_or_default(), max_rows))
        .collect();
    if apart.len() < joint.len() { apart } else { joint }
}

/// What gaps must share to be planned together: the widest subject that answers for them; on no grid, the window too.
pub fn group_of<O: Operation>(operation: &O, gap: &Slice<O::Subject>) -> (O::Subject, Option<Window>) {
    let subject = gap.subject.whole().unwrap_or_else(|| gap.subject.clone());
    (subject, operation.grid().is_none().then_some(gap.window))
}

/// Whether a call brings what the gap wants.
pub fn serves<S: Subject>(call: &Slice<S>, gap: &Slice<S>) -> bool {
    call.window.covers(gap.window)
        && (call.subject == gap.subject || gap.subject.whole().is_some_and(|whole| whole == call.subject))
}

/// Joins neighbouring and nearby gaps from left to right for as long as the reply stays under `max_rows`. Each call is
/// as long as it may be, so that no fewer can do.
fn spans<O: Operation>(
    operation: &O,
    subject: &O::Subject,
    mut windows: Vec<Window>,
    max_rows: u64,
) -> Vec<Slice<O::Subject>> {
    windows.sort_unstable();
    let mut calls: Vec<Slice<O::Subject>> = Vec::new();
    for window in windows {
        if let Some(last) = calls.last_mut() {
            let joined = Slice { subject: subject.clone(), window: last.window.hull(window) };
            if last.window.covers(window) || operation.expected_rows(&joined) <= max_rows {
                *last = joined;
                continue;
            }
        }
        calls.push(Slice { subject: subject.clone(), window });
    }
    calls
}
