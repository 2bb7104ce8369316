//! Order and threads: runs the nodes of a graph, each after those it needs, on a fixed number of threads, named `worker 1` and so on.
//!
//! The threads are plain ones, not rayon's: a node that waits for a child process must not starve the pool that
//! hashes and scans. Owns no knowledge of what a node does.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex};

/// A graph: for each node the nodes it needs, by index.
pub trait Graph: Sync {
    /// Number of nodes.
    fn len(&self) -> usize;

    /// Whether there are no nodes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a node needs; all smaller than `node`.
    fn needs(&self, node: usize) -> &[usize];
}

impl Graph for crate::plan::Plan {
    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn needs(&self, node: usize) -> &[usize] {
        &self.nodes[node].needs
    }
}

/// Where every node stands.
struct State<E> {
    ready: BTreeSet<usize>,
    /// How many unfinished nodes each node waits for.
    waiting: Vec<usize>,
    unfinished: usize,
    failure: Option<(usize, E)>,
}

/// Runs all nodes; the smallest ready node first. After a failure nothing new starts, what runs ends, and the
/// failure of the smallest failed node is returned.
pub fn run<E: Send>(
    graph: &dyn Graph,
    threads: NonZeroUsize,
    work: &(dyn Fn(usize) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let users = users(graph);
    let waiting: Vec<usize> = (0..graph.len()).map(|node| distinct(graph.needs(node)).len()).collect();
    let ready = (0..graph.len()).filter(|node| waiting[*node] == 0).collect();
    let state = Mutex::new(State { ready, waiting, unfinished: graph.len(), failure: None });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for number in 1..=threads.get().min(graph.len()) {
            let work = || {
                while let Some(node) = next(&state, &changed) {
                    let result = work(node);
                    settle(&state, &users[node], node, result);
                    changed.notify_all();
                }
            };
            let worker = std::thread::Builder::new().name(format!("worker {number}"));
            worker.spawn_scoped(scope, work).expect("a thread can be started");
        }
    });
    let state = state.into_inner().expect("workers do not panic while they hold the state");
    match state.failure {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

/// Waits for a ready node; `None` when there is nothing left to start.
fn next<E>(state: &Mutex<State<E>>, changed: &Condvar) -> Option<usize> {
    let mut state = state.lock().expect("workers do not panic while they hold the state");
    loop {
        if state.failure.is_some() || state.unfinished == 0 {
            return None;
        }
        if let Some(node) = state.ready.pop_first() {
            return Some(node);
        }
        state = changed.wait(state).expect("workers do not panic while they hold the state");
    }
}

fn settle<E>(state: &Mutex<State<E>>, users: &[usize], node: usize, result: Result<(), E>) {
    let mut state = state.lock().expect("workers do not panic while they hold the state");
    state.unfinished -= 1;
    match result {
        Ok(()) => {
            for user in users {
                state.waiting[*user] -= 1;
                if state.waiting[*user] == 0 {
                    state.ready.insert(*user);
                }
            }
        }
        Err(error) => {
            if state.failure.as_ref().is_none_or(|(first, _)| node < *first) {
                state.failure = Some((node, error));
            }
        }
    }
}

/// For each node, the nodes that need it.
fn users(graph: &dyn Graph) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); graph.len()];
    for node in 0..graph.len() {
        for need in distinct(graph.needs(node)) {
            assert!(need < node, "a graph is given in an order that works");
            users[need].push(node);
        }
    }
    users
}

fn distinct(needs: &[usize]) -> BTreeSet<usize> {
    needs.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug)]
    struct Given(Vec<Vec<usize>>);

    impl Graph for Given {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn needs(&self, node: usize) -> &[usize] {
            &self.0[node]
        }
    }

    fn graphs() -> impl Strategy<Value = Given> {
        prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 0..40).prop_map(
            |raw| {
                let needs = raw
                    .iter()
                    .enumerate()
                    .map(
                        |(node, picks)| {
                            if node == 0 { vec![] } else { picks.iter().map(|i| i.index(node)).collect() }
                        },
                    )
                    .collect();
                Given(needs)
            },
        )
    }

    proptest! {
        #[test]
        fn every_node_runs_once_after_what_it_needs(graph in graphs(), threads in 1usize..9) {
            let clock = AtomicUsize::new(1);
            let ended: Vec<AtomicUsize> = (0..graph.len()).map(|_| AtomicUsize::new(0)).collect();
            run::<()>(&graph, NonZeroUsize::new(threads).unwrap(), &|node| {
                for need in graph.needs(node) {
                    assert!(ended[*need].load(Ordering::SeqCst) > 0);
                }
                assert_eq!(ended[node].swap(clock.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst), 0);
                Ok(())
            }).unwrap();
            prop_assert!(ended.iter().all(|e| e.load(Ordering::SeqCst) > 0));
        }

        #[test]
        fn nothing_that_needs_a_failed_node_runs(graph in graphs(), bad in any::<prop::sample::Index>()) {
            if graph.is_empty() { return Ok(()) }
            let bad = bad.index(graph.len());
            let ran: Vec<AtomicUsize> = (0..graph.len()).map(|_| AtomicUsize::new(0)).collect();
            let result = run(&graph, NonZeroUsize::new(3).unwrap(), &|node| {
                ran[node].store(1, Ordering::SeqCst);
                if node == bad { Err(node) } else { Ok(()) }
            });
            prop_assert_eq!(result, Err(bad));
            let mut tainted = vec![false; graph.len()];
            tainted[bad] = true;
            for node in 0..graph.len() {
                if graph.needs(node).iter().any(|n| tainted[*n]) {
                    tainted[node] = true;
                    prop_assert_eq!(ran[node].load(Ordering::SeqCst), 0);
                }
            }
        }
    }

    #[test]
    fn independent_nodes_overlap() {
        let barrier = std::sync::Barrier::new(2);
        let graph = Given(vec![vec![], vec![]]);
        run::<()>(&graph, NonZeroUsize::new(2).unwrap(), &|_| {
            barrier.wait();
            Ok(())
        })
        .unwrap();
    }
}
