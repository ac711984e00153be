//! Where log lines go. Whoever logs waits for nobody: a terminal that is stopped or a pipe that nobody reads would else hold up
//! the tick, and burners would end at their deadlines. A thread writes; what it has no room for is counted and told.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Lines that wait to be written, at most: some 100 KiB.
const ROOM: usize = 1_024;
/// What an end waits for the last lines, should nobody read them.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes lines from any thread.
#[derive(Debug, Clone)]
pub struct LogLines {
    lines: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// All before it were written.
    Flush(SyncSender<()>),
}

impl LogLines {
    /// Starts the thread that writes to `output`. It ends with the process.
    ///
    /// # Errors
    /// The kernel's, when it has no thread left.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, taken) = sync_channel(ROOM);
        let lost = Arc::<AtomicU64>::default();
        let theirs = lost.clone();
        thread::Builder::new().name("log".into()).spawn(move || write_on(output, &taken, &theirs))?;
        Ok(Self { lines, lost })
    }

    /// Waits until what was logged so far is written, or nobody reads it.
    pub fn flush(&self) {
        let (written, waited) = sync_channel(1);
        if self.lines.try_send(Entry::Flush(written)).is_ok() {
            let _nobody_reads: Result<(), RecvTimeoutError> = waited.recv_timeout(PATIENCE);
        }
    }
}

impl Write for LogLines {
    /// Takes a line; never waits, never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_on(mut output: impl Write, taken: &Receiver<Entry>, lost: &AtomicU64) {
    for entry in taken {
        match entry {
            // A log that can't be written is nobody's to mend here.
            Entry::Line(line) => drop(output.write_all(&line)),
            Entry::Flush(written) => drop(written.try_send(())),
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => drop(writeln!(output, "{lost} lines of the log are lost: nobody read them in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixStream, time::Instant};

    use super::*;

    #[test]
    fn whoever_logs_does_not_wait_for_a_reader_and_lost_lines_are_told() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut lines = LogLines::start(writer).unwrap();
        let begin = Instant::now();
        let line = [b'x'; 1_023].iter().copied().chain([b'\n']).collect::<Vec<u8>>();
        // Far more than the socket and the channel hold.
        for _ in 0..4 * ROOM {
            lines.write_all(&line).unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        LogLines::flush(&lines);
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        thread::sleep(Duration::from_millis(100));
        lines.write_all(b"the last\n").unwrap();
        LogLines::flush(&lines);
        // Its thread ends with the last who can log, and closes the socket.
        drop(lines);
        let text = reading.join().unwrap();
        assert!(text.contains("lines of the log are lost") && text.contains("the last\n"));
    }
}
