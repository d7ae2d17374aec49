use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

/// Maximum tokens of a group, unless a single sentence has more. Larger groups are not faster, and
/// a group of this size needs about 20 MB with BERT-base.
const MAX_GROUP_TOKENS: usize = 448;

/// Groups are not made smaller than this to distribute them over the threads.
const MIN_GROUP_TOKENS: usize = 128;

/// Capacity of the channel of jobs. Senders wait while it is full.
const WAITING_JOBS: usize = 64;

/// Threads that process sentences in groups, across jobs. When the pool is dropped, they finish
/// their current group and end.
pub(super) struct Pool {
    jobs: mpsc::Sender<Vec<Sentence>>,
}

/// A thread panicked while it processed the group of the sentence.
#[derive(Debug)]
pub(super) struct Interrupted;

struct Sentence {
    ids: Vec<u32>,
    answer: oneshot::Sender<Vec<f32>>,
}

impl Pool {
    /// Starts the threads. `infer` returns a row of numbers for each sentence of a group.
    pub(super) fn start(
        threads: usize,
        infer: impl Fn(&[&[u32]]) -> Vec<Vec<f32>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let infer = Arc::new(infer);
        let (jobs, receiver) = mpsc::channel(WAITING_JOBS);
        let waiting = Waiting { receiver, sentences: VecDeque::new(), tokens: 0, threads };
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let (waiting, infer) = (waiting.clone(), infer.clone());
            thread::Builder::new()
                .name("shiori-bert".to_owned())
                .spawn(move || work(&waiting, &*infer))?;
        }
        Ok(Self { jobs })
    }

    /// The results of the sentences, in order.
    pub(super) async fn run(&self, all: Vec<Vec<u32>>) -> Result<Vec<Vec<f32>>, Interrupted> {
        let (job, answers): (Vec<_>, Vec<_>) = all
            .into_iter()
            .map(|ids| {
                let (answer, answered) = oneshot::channel();
                (Sentence { ids, answer }, answered)
            })
            .unzip();
        self.jobs.send(job).await.map_err(|_| Interrupted)?;
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(answer.await.map_err(|_| Interrupted)?);
        }
        Ok(results)
    }
}

/// The loop of a thread.
fn work(waiting: &Mutex<Waiting>, infer: impl Fn(&[&[u32]]) -> Vec<Vec<f32>>) {
    loop {
        let group = waiting.lock().unwrap_or_else(PoisonError::into_inner).next_group();
        let Some(group) = group else { return };
        let (ids, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|sentence| (sentence.ids, sentence.answer)).unzip();
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        // A panic drops the senders, so the waiting calls fail.
        let Ok(results) = catch_unwind(AssertUnwindSafe(|| infer(&ids))) else { continue };
        for (answer, result) in answers.into_iter().zip(results) {
            // Fails if the call was cancelled.
            let _ = answer.send(result);
        }
    }
}

struct Waiting {
    receiver: mpsc::Receiver<Vec<Sentence>>,
    /// The sentences of jobs that were taken from the channel.
    sentences: VecDeque<Sentence>,
    /// Their tokens.
    tokens: usize,
    threads: usize,
}

impl Waiting {
    /// Waits for sentences and takes a group of them; `None` if the pool was dropped.
    fn next_group(&mut self) -> Option<Vec<Sentence>> {
        loop {
            while self.tokens < 2 * self.threads * MAX_GROUP_TOKENS
                && let Ok(job) = self.receiver.try_recv()
            {
                self.add(job);
            }
            // The last groups are smaller, so that all threads finish at about the same time.
            let limit = self.tokens / (2 * self.threads);
            let limit = limit.clamp(MIN_GROUP_TOKENS, MAX_GROUP_TOKENS);
            let (mut group, mut tokens) = (Vec::new(), 0);
            while let Some(next) = self.sentences.front()
                && (tokens == 0 || tokens + next.ids.len() <= limit)
                && let Some(next) = self.sentences.pop_front()
            {
                self.tokens -= next.ids.len();
                // Sentences of cancelled calls are skipped.
                if !next.answer.is_closed() {
                    tokens += next.ids.len();
                    group.push(next);
                }
            }
            if !group.is_empty() {
                return Some(group);
            }
            let job = self.receiver.blocking_recv()?;
            self.add(job);
        }
    }

    fn add(&mut self, job: Vec<Sentence>) {
        self.tokens += job.iter().map(|sentence| sentence.ids.len()).sum::<usize>();
        self.sentences.extend(job);
    }
}
