//! What traffic has shown of one target: how soon it answers, how fast it speaks, how long its answers are, how much of a
//! prompt it finds in its cache, how busy it is, and how it failed lately.
//!
//! Every figure is an atomic number of 64 bits that is read and written whole; nobody waits for anybody. Whoever reads while
//! another writes sees the figure before or after. Writers that meet try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::tokens::{Estimate, expected_output};

/// A figure that came as a surprise loses its weight in this time: to a third, then to a ninth.
const SURPRISE_FADES: Duration = Duration::from_secs(15);
/// A sample after so long a silence counts for two thirds of the average; the one before it is old news.
const AVERAGE_FADES: Duration = Duration::from_secs(60);
/// The least that a sample counts for, however quickly it follows the one before.
const SAMPLE_SHARE: f32 = 0.1;
/// What a failed attempt adds to the expected time of its target, if it did not take longer itself: linkerd takes five seconds,
/// for requests that are shorter.
pub const FAILURE_PENALTY: Duration = Duration::from_secs(3);
/// A penalty falls to a third in this time.
const PENALTY_FADES: Duration = Duration::from_secs(10);
/// The most that failures add to the expected time.
const LARGEST_PENALTY: Duration = Duration::from_secs(60);
/// Samples after which the usual output of a target is believed more than a guess.
const BELIEVED_SAMPLES: u32 = 5;
/// Of the usual output, the cached share and the size of prompts: a sample counts for at least a twentieth.
const USAGE_SHARE: f32 = 0.05;
/// A prompt that was told to be more than so many times what was expected, or less than that part, counts no more than that: it
/// had a picture, or the provider read half the web for it.
const FURTHEST_SAMPLE: f32 = 4.0;
/// What is expected of a prompt is at most so many times what the rule says, and at least that part.
const FURTHEST_RATIO: f32 = 8.0;

/// Prompts of similar length: the time to the first token depends on it. By estimated input tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    UpTo1k,
    UpTo8k,
    UpTo32k,
    Longer,
}

impl SizeClass {
    pub const ALL: [SizeClass; 4] = [SizeClass::UpTo1k, SizeClass::UpTo8k, SizeClass::UpTo32k, SizeClass::Longer];

    pub fn of(input_tokens: u64) -> SizeClass {
        match input_tokens {
            0..=1_000 => SizeClass::UpTo1k,
            1_001..=8_000 => SizeClass::UpTo8k,
            8_001..=32_000 => SizeClass::UpTo32k,
            _ => SizeClass::Longer,
        }
    }
}

/// The signals of one model at one provider, shared by all requests.
#[derive(Debug)]
pub struct Signals {
    /// Ages are counted from here.
    start: Instant,
    outstanding_tokens: AtomicU64,
    outstanding_requests: AtomicU64,
    /// Milliseconds, by size class.
    first_token: [Peak; SizeClass::ALL.len()],
    /// Milliseconds.
    per_token: Peak,
    /// Milliseconds, fading.
    penalty: Stamped,
    /// Tokens, and how many samples.
    output: AtomicU64,
    /// Tokens of prompts for each that the rule of [`crate::tokens`] gave them, by size class.
    prompt: [Ratio; SizeClass::ALL.len()],
    /// Tokens read from the provider's prompt cache, and tokens of all prompts; older ones count less.
    cached: AtomicU64,
    /// When the target was last tried to learn about it, in milliseconds after `start`, plus one; 0 is never.
    explored: AtomicU64,
}

impl Signals {
    /// `now` is the earliest time that will be spoken of; earlier ones are taken for it.
    pub fn new(now: Instant) -> Signals {
        Signals {
            start: now,
            outstanding_tokens: AtomicU64::new(0),
            outstanding_requests: AtomicU64::new(0),
            first_token: Default::default(),
            per_token: Peak::default(),
            penalty: Stamped::default(),
            output: AtomicU64::new(0),
            prompt: Default::default(),
            cached: AtomicU64::new(0),
            explored: AtomicU64::new(0),
        }
    }

    /// A request of so many estimated tokens, output included, is sent to the target; it ends when what is returned is dropped.
    pub fn begin(self: &Arc<Self>, tokens: u64) -> Outstanding {
        self.outstanding_tokens.fetch_add(tokens, Relaxed);
        self.outstanding_requests.fetch_add(1, Relaxed);
        Outstanding { signals: Arc::clone(self), tokens }
    }

    /// The first content of an answer came `took` after the request was sent.
    pub fn first_token(&self, size: SizeClass, took: Duration, now: Instant) {
        self.first_token[size as usize].note(millis(took), self.ticks(now));
    }

    /// After its first content, an answer of `tokens` took `took`. Answers of one token say nothing.
    pub fn per_token(&self, tokens: u64, took: Duration, now: Instant) {
        if let Some(intervals @ 1..) = tokens.checked_sub(1) {
            self.per_token.note(millis(took) / intervals as f32, self.ticks(now));
        }
    }

    /// An attempt failed, for which the expected time grows by `penalty`, for a while; failures add up.
    pub fn failed(&self, penalty: Duration, now: Instant) {
        let ticks = self.ticks(now);
        self.penalty.update(|before| {
            let left = before.map_or(0.0, |before| before.faded(ticks, PENALTY_FADES));
            Sample { value: (left + millis(penalty)).min(millis(LARGEST_PENALTY)), ticks }
        });
    }

    /// What a complete answer used, in tokens; `input` includes `cache_read`.
    pub fn usage(&self, input: u64, cache_read: u64, output: u64) {
        update(&self.output, |packed| {
            let (mean, count) = unpack(packed);
            let share = (1.0 / (count as f32 + 1.0)).max(USAGE_SHARE);
            pack(mean + (output as f32 - mean) * share, count.saturating_add(1))
        });
        if input > 0 {
            update(&self.cached, |packed| {
                let (read, all) = (f32::from_bits((packed >> 32) as u32), f32::from_bits(packed as u32));
                let keep = 1.0 - USAGE_SHARE;
                let read = read * keep + cache_read.min(input) as f32;
                let all = all * keep + input as f32;
                u64::from(read.to_bits()) << 32 | u64::from(all.to_bits())
            });
        }
    }

    /// The provider told `told` tokens of a prompt that the rule had given `ruled`.
    pub fn prompt(&self, ruled: u64, told: u64) {
        self.prompt[SizeClass::of(ruled) as usize].note(ruled, told);
    }

    /// How large a request probably is here that has this size by the rule of [`crate::tokens`]: the prompt as the provider has
    /// counted others like it, the answer as long as it usually is, or as allowed.
    pub fn estimate(&self, ruled: Estimate, max_tokens: Option<u64>) -> Estimate {
        let input = self.prompt[SizeClass::of(ruled.input) as usize].apply(ruled.input);
        let output = self.usual_output().map_or(ruled.output, |usual| expected_output(usual, max_tokens));
        Estimate { input, output }
    }

    /// Estimated tokens of the requests that run.
    pub fn outstanding_tokens(&self) -> u64 {
        self.outstanding_tokens.load(Relaxed)
    }

    pub fn outstanding_requests(&self) -> u64 {
        self.outstanding_requests.load(Relaxed)
    }

    /// Expected milliseconds to the first content of an answer. A class that was never seen answers as its nearest
    /// neighbour; `None`: nothing was ever seen.
    pub fn first_token_ms(&self, size: SizeClass, now: Instant) -> Option<f64> {
        let ticks = self.ticks(now);
        let by_distance = |distance: usize| {
            let place = size as usize;
            let near = [place.checked_sub(distance), Some(place + distance)];
            near.into_iter().flatten().find_map(|place| self.first_token.get(place)?.expected(ticks))
        };
        (0..SizeClass::ALL.len()).find_map(by_distance).map(f64::from)
    }

    /// Expected milliseconds between two tokens.
    pub fn per_token_ms(&self, now: Instant) -> Option<f64> {
        self.per_token.expected(self.ticks(now)).map(f64::from)
    }

    /// What failures add to the expected time, in milliseconds.
    pub fn penalty_ms(&self, now: Instant) -> f64 {
        self.penalty.read().map_or(0.0, |sample| f64::from(sample.faded(self.ticks(now), PENALTY_FADES)))
    }

    /// How long ago an answer to a prompt of this size began.
    pub fn silence(&self, size: SizeClass, now: Instant) -> Option<Duration> {
        let sample = self.first_token[size as usize].average.read()?;
        Some(Duration::from_millis(u64::from(self.ticks(now).saturating_sub(sample.ticks)) * TICK_MS))
    }

    /// Tokens of an answer, as this target has usually given; `None` while too few were seen.
    pub fn usual_output(&self) -> Option<u64> {
        let (mean, count) = unpack(self.output.load(Relaxed));
        (count >= BELIEVED_SAMPLES).then_some(mean.round() as u64)
    }

    /// The share of prompts, from 0 to 1, that the provider found in its cache lately.
    pub fn cached_share(&self) -> f64 {
        let packed = self.cached.load(Relaxed);
        let (read, all) = (f32::from_bits((packed >> 32) as u32), f32::from_bits(packed as u32));
        if all > 0.0 { f64::from(read / all).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Takes the right to send a request here for what can be learned: true once in every `pause`.
    pub fn explore(&self, pause: Duration, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start).as_millis() as u64 + 1;
        let last = self.explored.load(Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= pause.as_millis() as u64;
        due && self.explored.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }

    fn ticks(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.start).as_millis() as u64 / TICK_MS) as u32
    }
}

/// A request that runs. Dropped, it does not.
#[derive(Debug)]
pub struct Outstanding {
    signals: Arc<Signals>,
    tokens: u64,
}

impl Outstanding {
    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.signals.outstanding_tokens.fetch_sub(self.tokens, Relaxed);
        self.signals.outstanding_requests.fetch_sub(1, Relaxed);
    }
}

/// Times are kept in 32 bits of this unit: enough for a year and four months without a restart, after which figures are
/// merely taken for fresh or old once.
const TICK_MS: u64 = 10;

#[derive(Debug, Clone, Copy)]
struct Sample {
    value: f32,
    ticks: u32,
}

impl Sample {
    fn age(self, ticks: u32) -> f32 {
        ticks.saturating_sub(self.ticks) as f32 * TICK_MS as f32
    }

    fn faded(self, ticks: u32, time: Duration) -> f32 {
        self.value * (-self.age(ticks) / millis(time)).exp()
    }
}

/// A number and the time at which it was written, together in one word. Zero is "never": numbers are made positive.
#[derive(Debug, Default)]
struct Stamped(AtomicU64);

impl Stamped {
    fn read(&self) -> Option<Sample> {
        Stamped::sample(self.0.load(Relaxed))
    }

    fn sample(packed: u64) -> Option<Sample> {
        let (value, ticks) = unpack(packed);
        (packed != 0).then_some(Sample { value, ticks })
    }

    fn update(&self, change: impl Fn(Option<Sample>) -> Sample) {
        update(&self.0, |packed| {
            let Sample { value, ticks } = change(Stamped::sample(packed));
            pack(value.max(f32::MIN_POSITIVE), ticks)
        });
    }
}

/// An average that follows slowly, and the last surprise above it, which fades with time. Expected is the higher of both: a
/// target that turns slow is known to be so at its first slow answer, and one slow answer is not held against it for ever.
#[derive(Debug, Default)]
struct Peak {
    average: Stamped,
    surprise: Stamped,
}

impl Peak {
    fn note(&self, sample: f32, ticks: u32) {
        if !sample.is_finite() {
            return;
        }
        let expected = self.expected(ticks);
        self.average.update(|average| match average {
            None => Sample { value: sample, ticks },
            Some(average) => {
                let silence = 1.0 - (-average.age(ticks) / millis(AVERAGE_FADES)).exp();
                let share = silence.max(SAMPLE_SHARE);
                // A time that went backwards, as between threads, is no later time.
                Sample { value: average.value + (sample - average.value) * share, ticks: ticks.max(average.ticks) }
            }
        });
        if let (Some(expected), Some(average)) = (expected, self.average.read())
            && sample > expected
        {
            self.surprise.update(|_| Sample { value: sample - average.value, ticks });
        }
    }

    fn expected(&self, ticks: u32) -> Option<f32> {
        let average = self.average.read()?.value;
        Some(average + self.surprise.read().map_or(0.0, |surprise| surprise.faded(ticks, SURPRISE_FADES)))
    }
}

/// An average of ratios: of their logarithms, so that half and twice are equally far away. One, as if it had been seen once,
/// until more is known.
#[derive(Debug, Default)]
struct Ratio(AtomicU64);

impl Ratio {
    fn note(&self, ruled: u64, told: u64) {
        if ruled == 0 || told == 0 {
            return;
        }
        let seen = (told as f32 / ruled as f32).ln();
        update(&self.0, |packed| {
            let (mean, count) = unpack(packed);
            let share = (1.0 / (count as f32 + 2.0)).max(USAGE_SHARE);
            let surprise = (seen - mean).clamp(-FURTHEST_SAMPLE.ln(), FURTHEST_SAMPLE.ln());
            let most = FURTHEST_RATIO.ln();
            pack((mean + surprise * share).clamp(-most, most), count.saturating_add(1))
        });
    }

    fn apply(&self, ruled: u64) -> u64 {
        match self.0.load(Relaxed) {
            0 => ruled,
            packed => (ruled as f64 * f64::from(unpack(packed).0).exp()).round() as u64,
        }
    }
}

fn update(cell: &AtomicU64, change: impl Fn(u64) -> u64) {
    // The closure never gives up, so neither does the update.
    let _ = cell.fetch_update(Relaxed, Relaxed, |packed| Some(change(packed)));
}

fn pack(value: f32, low: u32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(low)
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

fn millis(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e3
}
