//! Work on frames by several threads, results in the order of submission.
//!
//! One coordinator (the caller) fills tasks, submits them, and takes the oldest result back before it fills another once `depth` are
//! under way. A task carries all its buffers with it, so there is no second pool that could run dry while the oldest frame waits: the only
//! thing that anybody ever waits for is the oldest task, and that one is always with a worker or done.

use std::collections::VecDeque;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::BundleError;

/// Worker threads and the tasks that are with them.
pub struct Pipeline<T> {
    queue: Option<Sender<(T, Sender<T>)>>,
    under_way: VecDeque<Receiver<T>>,
    depth: usize,
    workers: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Pipeline<T> {
    /// Starts `workers` threads; `worker` is called once for each and gives what it does with a task.
    pub fn new<W: FnMut(&mut T) + Send + 'static>(workers: usize, worker: impl Fn() -> W) -> Pipeline<T> {
        let depth = workers + 2;
        let (queue, tasks) = bounded::<(T, Sender<T>)>(depth);
        let spawn = |_| {
            let (tasks, mut work) = (tasks.clone(), worker());
            let run = move || {
                for (mut task, done) in tasks {
                    work(&mut task);
                    // The coordinator may have given up on an error; then nobody waits for this result.
                    let _ = done.send(task);
                }
            };
            std::thread::Builder::new().spawn(run)
        };
        // Fewer threads than wished for are only slower. Without any the queue has no reader, and submitting says so.
        let workers = (0..workers).map_while(|number| spawn(number).ok()).collect();
        Pipeline { queue: Some(queue), under_way: VecDeque::new(), depth, workers }
    }

    /// True if a result must be taken before another task goes in.
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= self.depth
    }

    /// Hands a task to the next free worker.
    ///
    /// # Errors
    /// [`BundleError::WorkerLost`] if all threads ended.
    pub fn submit(&mut self, task: T) -> Result<(), BundleError> {
        let (done, result) = bounded(1);
        self.under_way.push_back(result);
        let queue = self.queue.as_ref().ok_or(BundleError::WorkerLost)?;
        queue.send((task, done)).map_err(|_| BundleError::WorkerLost)
    }

    /// Waits for the oldest task; `None` if none is under way.
    ///
    /// # Errors
    /// [`BundleError::WorkerLost`] if its thread panicked.
    pub fn oldest(&mut self) -> Option<Result<T, BundleError>> {
        Some(self.under_way.pop_front()?.recv().map_err(|_| BundleError::WorkerLost))
    }
}

impl<T> Drop for Pipeline<T> {
    fn drop(&mut self) {
        self.queue = None;
        for worker in self.workers.drain(..) {
            // A panic was already reported as a lost worker.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn run(workers: usize, work: impl Fn(&mut u64) + Send + Clone + 'static) -> Result<Vec<u64>, BundleError> {
        let mut pipeline = Pipeline::new(workers, || work.clone());
        let mut results = Vec::new();
        for task in 0..100 {
            if pipeline.is_full() {
                results.push(pipeline.oldest().expect("tasks are under way")?);
            }
            pipeline.submit(task)?;
        }
        while let Some(result) = pipeline.oldest() {
            results.push(result?);
        }
        Ok(results)
    }

    #[test]
    fn results_come_in_order_though_the_oldest_is_slowest() {
        static LATER_DONE: AtomicBool = AtomicBool::new(false);
        // Task 0 waits until another worker has finished task 1: no order of completion can hold the pipeline up.
        let delayed = |task: &mut u64| {
            while *task == 0 && !LATER_DONE.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            LATER_DONE.fetch_or(*task == 1, Ordering::AcqRel);
            *task += 1000;
        };
        assert_eq!(run(2, delayed).unwrap(), (1000..1100).collect::<Vec<_>>());
    }

    #[test]
    fn a_panicking_worker_is_an_error_not_a_hang() {
        let failing = |task: &mut u64| assert!(*task != 5, "deliberate");
        assert!(matches!(run(1, failing), Err(BundleError::WorkerLost)));
    }
}
