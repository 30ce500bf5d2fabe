//! The thread that writes log lines, and the bounded queue to it.

use callwarden_core::limits;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Owns the writing thread. Dropping it waits until what was queued is written, for [`limits::LOG_FLUSH_TIME`] at most.
#[derive(Debug)]
pub struct LogWriter {
    queue: SyncSender<Entry>,
}

/// The sending end. Each write is one line, as the formatter hands it over whole.
#[derive(Clone, Debug)]
pub struct LineSender {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread that writes to `out`. Where no thread can be had, lines are lost and nothing else is.
    pub fn start(out: impl Write + Send + 'static) -> (Self, LineSender) {
        let (queue, entries) = sync_channel(limits::LOG_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&entries, out, &lost));
        drop(thread);
        (Self { queue: queue.clone() }, LineSender { queue, dropped })
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        let mut left = limits::LOG_FLUSH_TIME;
        let step = Duration::from_millis(10);
        let mut flush = Entry::Flush(done);
        while let Err(TrySendError::Full(entry)) = self.queue.try_send(flush) {
            if left.is_zero() {
                return;
            }
            std::thread::sleep(step);
            left = left.saturating_sub(step);
            flush = entry;
        }
        match written.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

impl Write for LineSender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Errors of `out` have nowhere to go: the line is lost and the next one is tried.
fn write_all(entries: &Receiver<Entry>, mut out: impl Write, dropped: &AtomicU64) {
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    out.write_all(format!("callwarden: {lost} log lines lost, the log's reader is slow\n").as_bytes())
                        .ok();
                }
                out.write_all(&line).ok();
            }
            Entry::Flush(done) => {
                out.flush().ok();
                done.send(()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    /// Takes a line only when the test lets it.
    struct Slow {
        gate: Mutex<Receiver<()>>,
        lines: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.gate.lock().expect("one thread").recv().map_err(io::Error::other)?;
            self.lines.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_that_are_counted_and_never_blocks() {
        let ((open, gate), (lines, seen)) = (channel(), channel());
        let (writer, mut sender) = LogWriter::start(Slow { gate: Mutex::new(gate), lines });
        // One line may be in the thread's hands beside the full queue.
        let extra = 10;
        for number in 0..=limits::LOG_LINES_MAX + extra {
            sender.write_all(format!("{number}\n").as_bytes()).expect("never fails");
        }
        let lost = sender.dropped.load(Ordering::Relaxed);
        assert!((extra as u64..=extra as u64 + 1).contains(&lost), "{lost}");
        for _ in 0..limits::LOG_LINES_MAX + 3 {
            open.send(()).expect("the thread lives");
        }
        drop(open);
        drop((writer, sender));
        let seen: Vec<String> = seen.iter().collect();
        assert!(seen.contains(&"0\n".to_owned()));
        assert!(seen.contains(&format!("callwarden: {lost} log lines lost, the log's reader is slow\n")), "{lost}");
    }

    #[test]
    fn dropping_the_writer_writes_what_was_queued() {
        let ((open, gate), (lines, seen)) = (channel(), channel());
        for _ in 0..3 {
            open.send(()).expect("open");
        }
        let (writer, mut sender) = LogWriter::start(Slow { gate: Mutex::new(gate), lines });
        for line in ["אחת\n", "שתיים\n", "שלוש\n"] {
            sender.write_all(line.as_bytes()).expect("never fails");
        }
        drop(writer);
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["אחת\n", "שתיים\n", "שלוש\n"]);
    }
}
