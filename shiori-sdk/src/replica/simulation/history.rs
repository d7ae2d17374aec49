//! One history: everything that happens follows from its seed.

use super::{
    super::{
        exchange::{Answer, Need, Request, Seen},
        record::{LocalChange, Record},
    },
    device::{Device, Memory, Message, Stored},
    ledger::{Known, Ledger},
    server::{Envelope, Server},
    steps::Steps,
    trace,
};
use crate::{
    diary::Precondition,
    merge::tests::judge::writer::{Habit, Random, Writer},
    types::{Document, Draft, SaveId},
};

/// The steps of a history: at least this many, and up to twice as many.
const STEPS: usize = 6;

/// The first syllables of the words of the devices, and last of another program.
pub(super) const SYLLABLES: [char; 5] = ['가', '나', '다', '라', '마'];

pub(super) struct History<'s> {
    steps: &'s dyn Steps,
    random: Random,
    pub(super) ledger: Ledger,
    pub(super) server: Server,
    pub(super) devices: Vec<Device>,
    /// Another program, which reads and saves while it is online.
    other: Writer,
    /// Requests that reach the server after the device has given up.
    pub(super) late: Vec<Envelope>,
    ids: u128,
    /// The devices that archived or restored, with the flag; `None` for a deletion.
    pub(super) flags: Vec<(usize, Option<bool>)>,
    /// Whether nothing fails.
    pub(super) is_quiet: bool,
    /// One line for each event, if someone reads them.
    pub(super) trace: Option<Vec<String>>,
    pub(super) notes: u64,
}

pub(super) type Result<T = ()> = std::result::Result<T, String>;

impl<'s> History<'s> {
    pub(super) fn new(seed: u64, steps: &'s dyn Steps, is_traced: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9));
        let habit = random.pick(&Habit::ALL).expect("a habit");
        let count = [2, 2, 2, 3, 3, 4][random.below(6)];
        let max_bytes = if random.one_in(8) { 600 + random.below(1200) } else { usize::MAX };
        let mut writer = |first| Writer::new(Random(random.next()), first, habit);
        let devices = SYLLABLES[..count].iter().map(|&first| Device {
            stored: Stored::default(),
            memory: Memory::default(),
            writer: writer(first),
            is_online: true,
        });
        Self {
            steps,
            devices: devices.collect(),
            other: writer(SYLLABLES[4]),
            random,
            ledger: Ledger::default(),
            server: Server::new(max_bytes),
            late: Vec::new(),
            ids: 0,
            flags: Vec::new(),
            is_quiet: false,
            trace: is_traced.then(Vec::new),
            notes: 0,
        }
    }

    pub(super) fn run(&mut self) -> Result {
        // Usually all devices start with the same diary.
        if !self.random.one_in(4) {
            self.is_quiet = true;
            self.write(0)?;
            self.quiet()?;
            self.is_quiet = false;
        }
        for _ in 0..STEPS + self.random.below(STEPS) {
            let device = self.random.below(self.devices.len());
            match self.random.below(24) {
                0..=8 => self.write(device)?,
                9 => self.devices[device].is_online ^= true,
                10 => {
                    self.log(device, "restarts");
                    self.devices[device].restart();
                }
                11 => self.keep(device, |record, _| record.drop_content()),
                12 => self.keep(device, Record::acknowledge),
                13 => self.other_program(),
                14 if !self.late.is_empty() => {
                    let late = self.late.swap_remove(self.random.below(self.late.len()));
                    let answer = self.server.handle(&late)?;
                    self.log(device, &format!("late request: {answer:?}"));
                }
                _ => {
                    self.exchange(device)?;
                }
            }
        }
        self.is_quiet = true;
        self.quiet()?;
        self.compare()
    }

    fn log(&mut self, device: usize, what: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {what}", SYLLABLES[device]));
        }
    }

    fn new_id(&mut self) -> SaveId {
        self.ids += 1;
        SaveId::from_bytes(self.ids.to_be_bytes())
    }

    /// Stores the result of a step, unless the device crashes before that. Returns whether it is
    /// still running.
    fn store(&mut self, device: usize, stored: Stored) -> bool {
        let crashes = !self.is_quiet && self.random.one_in(12);
        let is_before = crashes && self.random.one_in(2);
        if !is_before {
            self.devices[device].stored = stored;
        }
        if crashes {
            self.log(
                device,
                if is_before { "crashes before the write" } else { "crashes after the write" },
            );
            self.devices[device].restart();
        }
        !crashes
    }

    pub(super) fn keep(&mut self, device: usize, step: impl FnOnce(Record, u64) -> Record) {
        let mut stored = self.devices[device].stored.clone();
        let last_note = stored.last_note();
        stored.record = step(stored.record, last_note);
        self.store(device, stored);
    }

    /// The user changes something.
    fn write(&mut self, device: usize) -> Result {
        let mut stored = self.devices[device].stored.clone();
        let before = stored.counts(&mut self.ledger);
        let has_diary = stored.record.view().is_some();
        let change = match (self.random.below(16), &self.devices[device].memory.earlier) {
            (0 | 1, _) if has_diary => LocalChange::Delete,
            (2, _) if has_diary => LocalChange::Archive(self.random.one_in(2)),
            (3, Some(earlier)) => LocalChange::Save(earlier.clone()),
            _ => LocalChange::Save(self.devices[device].next_draft()),
        };
        let earlier = stored.draft();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} writes {}", SYLLABLES[device], trace::change(&change)));
        }
        let flag = match &change {
            LocalChange::Save(_) => None,
            LocalChange::Delete => Some((device, None)),
            LocalChange::Archive(archived) => Some((device, Some(*archived))),
        };
        let after = match &change {
            LocalChange::Save(draft) => Some(self.ledger.counts(draft)),
            LocalChange::Delete => Some(<_>::default()),
            LocalChange::Archive(_) => None,
        };
        stored.record = self.steps.write(stored.record, change);
        let is_edit = after.is_some();
        if let Some(after) = &after {
            self.ledger.edit(&mut stored.known, device, before.as_deref(), after);
        }
        if is_edit {
            self.check(&mut stored, false)?;
        }
        let record = stored.record.clone();
        let is_running = self.store(device, stored);
        if is_running && is_edit {
            self.devices[device].memory.earlier = earlier;
        }
        if self.devices[device].stored.record == record {
            self.flags.extend(flag);
        }
        Ok(())
    }

    /// Checks what the user of a device sees.
    fn check(&mut self, stored: &mut Stored, is_listed: bool) -> Result {
        let Some(counts) = stored.counts(&mut self.ledger) else { return Ok(()) };
        self.ledger.check(&mut stored.known, &counts, is_listed)
    }

    /// Another program changes the diary, and sometimes saves so often that all others are forgotten.
    fn other_program(&mut self) {
        let Some(diary) = self.server.diary() else { return };
        let mut known = self.server.known.clone();
        let before = self.ledger.counts(&diary.to_draft());
        let mut doc = diary.content.to_value();
        self.other.edit(&mut doc);
        let content = Document::from_value(&doc).expect("a document");
        let draft = Draft { title: diary.title, content };
        let after = self.ledger.counts(&draft);
        self.ledger.edit(&mut known, SYLLABLES.len() - 1, Some(&before), &after);
        let id = self.new_id();
        self.server.save(id, draft, known);
        let is_often = self.random.one_in(3);
        if is_often {
            let ids = &mut self.ids;
            self.server.forget_saves(|| {
                *ids += 1;
                SaveId::from_bytes(ids.to_be_bytes())
            });
        }
        self.log(SYLLABLES.len() - 1, if is_often { "saves often" } else { "saves" });
    }

    /// One request, or one answer that is on its way. Returns whether there was anything to do.
    pub(super) fn exchange(&mut self, device: usize) -> Result<bool> {
        let inbox = &mut self.devices[device].memory.inbox;
        if !inbox.is_empty() && (self.is_quiet || self.random.one_in(2)) {
            let (message, known) = inbox.swap_remove(self.random.below(inbox.len()));
            self.deliver(device, message, &known)?;
            return Ok(true);
        }
        if !self.devices[device].is_online {
            return Ok(false);
        }
        if self.is_quiet || self.random.one_in(2) {
            let known = self.server.known.clone();
            self.devices[device].memory.listed = self.server.listed().map(|listed| (listed, known));
        }
        let listed = self.devices[device].memory.listed.clone();
        let stored = self.devices[device].stored.clone();
        let need = stored.record.next(listed.as_ref().map(|(listed, _)| *listed));
        match need {
            None => return Ok(false),
            Some(Need::Send) => self.send(device, stored)?,
            Some(Need::Read) => {
                let known = self.server.known.clone();
                let seen = self.server.seen();
                self.answer(device, Message::Seen(seen), known)?;
            }
            Some(Need::LearnDeletion(version)) => {
                let known = listed.map(|(_, known)| known).unwrap_or_default();
                self.deliver(device, Message::Seen(Seen::Deleted(version)), &known)?;
            }
        }
        Ok(true)
    }

    fn send(&mut self, device: usize, mut stored: Stored) -> Result {
        let (is_new, id) = (stored.sent.is_none(), self.new_id());
        let Some((record, request)) = self.steps.begin(stored.record, id) else {
            return Err("there is nothing to send".to_owned());
        };
        stored.record = record;
        if is_new {
            let number = u64::try_from(self.ids).expect("small");
            stored.sent = Some((number, stored.known.clone()));
        }
        let (number, known) = stored.sent.clone().expect("set");
        let id = stored.record.sent_id().unwrap_or(id);
        if let Some(trace) = &mut self.trace {
            let text = trace::request(&request);
            trace.push(format!("{} sends {number} {text}", SYLLABLES[device]));
        }
        if !self.store(device, stored) {
            return Ok(());
        }
        let envelope = Envelope { request, number, known };
        if !self.is_quiet && self.random.one_in(6) {
            self.log(device, "  the request is lost");
            // A late request without an expected version may be applied after a deletion by someone
            // who has seen the diary of an earlier one.
            let is_protected = !matches!(
                envelope.request,
                Request::Save { precondition: Precondition::IfAbsent, .. }
            );
            if is_protected && self.random.one_in(2) {
                self.late.push(envelope);
            }
            return Ok(());
        }
        let answer = self.server.handle(&envelope)?;
        let known = match answer {
            Answer::Conflict(_) => self.server.known.clone(),
            _ => Known::default(),
        };
        self.answer(device, Message::Answer(id, answer), known)
    }

    /// An answer of the server on its way.
    fn answer(&mut self, device: usize, message: Message, known: Known) -> Result {
        match if self.is_quiet { 9 } else { self.random.below(10) } {
            0 | 1 => self.log(device, "  the answer is lost"),
            2 | 3 => {
                self.log(device, "  the answer is late");
                self.devices[device].memory.inbox.push((message, known));
            }
            _ => self.deliver(device, message, &known)?,
        }
        Ok(())
    }

    fn deliver(&mut self, device: usize, message: Message, known: &Known) -> Result {
        let before = self.devices[device].stored.clone();
        let mut stored = before.clone();
        if let Some(trace) = &mut self.trace {
            let text = trace::message(&message);
            trace.push(format!("{}   gets {text}", SYLLABLES[device]));
        }
        stored.record = match message {
            Message::Answer(id, answer) => self.steps.settle(stored.record, id, answer),
            Message::Seen(seen) => self.steps.learn(stored.record, seen),
        };
        if stored.record.sent_id().is_none() {
            stored.sent = None;
        }
        if stored.record != before.record {
            stored.known.join(known);
            let is_listed = stored.last_note() > before.last_note();
            self.notes += u64::from(is_listed);
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{}   has {}", SYLLABLES[device], trace::stored(&stored)));
            }
            self.check(&mut stored, is_listed)?;
        }
        self.store(device, stored);
        Ok(())
    }
}
