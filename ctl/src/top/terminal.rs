//! The terminal while it is ours: raw, on its alternate screen, and given back as it was on every way out. Nothing here waits
//! for a terminal that takes no more: a picture that it has not taken yet keeps the next one from being drawn.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use ratatui::{
    Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, buffer::Buffer, layout::Rect,
    style::Color,
};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

/// Alternate screen, cursor hidden: as smcup and civis of terminfo's xterm.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// Attributes reset, cursor shown, the screen from before: sgr0, cnorm, rmcup.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// A terminal that takes nothing for so long when it is given back gets no more.
const PATIENCE: Duration = Duration::from_millis(200);
/// What is drawn on at most: a terminal may claim any size.
const MOST_COLUMNS: u16 = 1_000;
const MOST_ROWS: u16 = 500;

/// The terminal, given back when dropped.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Sink>>,
    picture: Sink,
    output: File,
    restorer: Arc<Restorer>,
    in_color: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("in_color", &self.in_color).finish_non_exhaustive()
    }
}

/// What the terminal has not taken yet.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        // Bytes can't be left half-changed.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|waiting| waiting.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the terminal back, once.
struct Restorer {
    terminal: OwnedFd,
    before: Termios,
    output: File,
    done: AtomicBool,
}

impl Restorer {
    fn restore(&self) {
        if self.done.swap(true, Ordering::SeqCst) {
            return;
        }
        // Now: waiting until all is written may take for ever. A terminal that is gone needs nothing.
        let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        let mut left = LEAVE;
        let begin = Instant::now();
        while !left.is_empty() && begin.elapsed() < PATIENCE {
            match (&self.output).write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(_) => return,
            }
        }
    }
}

impl Screen {
    /// Takes over the terminal that keys come from (`input`) and that pictures go to (`output`).
    pub(super) fn enter(input: impl AsFd, output: impl AsFd, in_color: bool) -> io::Result<Self> {
        let before = tcgetattr(&input)?;
        let output = writer(&output)?;
        let restorer = Arc::new(Restorer {
            terminal: input.as_fd().try_clone_to_owned()?,
            before: before.clone(),
            output: output.try_clone()?,
            done: AtomicBool::new(false),
        });
        let picture = Sink::default();
        let options = TerminalOptions { viewport: Viewport::Fixed(size(&output)?) };
        let terminal = Terminal::with_options(CrosstermBackend::new(picture.clone()), options)?;
        restore_on_panic(&restorer);
        let mut raw = before;
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Flush, &raw)?;
        let mut screen = Self { terminal, picture, output, restorer, in_color };
        screen.picture.write_all(ENTER)?;
        screen.pump()?;
        Ok(screen)
    }

    /// The area that there is to draw on.
    pub(super) fn area(&self) -> io::Result<Rect> {
        size(&self.output)
    }

    /// Draws, unless the terminal has not taken the picture before; whether it did.
    pub(crate) fn draw(&mut self, picture: impl FnOnce(Rect, &mut Buffer)) -> io::Result<bool> {
        if self.restorer.done.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of this program failed, and it was given back"));
        }
        if !self.pump()? {
            return Ok(false);
        }
        let area = self.area()?;
        let in_color = self.in_color;
        if self.terminal.get_frame().area() != area {
            self.terminal.resize(area)?;
        }
        self.terminal.draw(|frame| {
            let area = frame.area();
            picture(area, frame.buffer_mut());
            if !in_color {
                without_color(frame.buffer_mut());
            }
        })?;
        self.pump()
    }

    /// Writes what the terminal takes; whether it took all.
    pub(super) fn pump(&mut self) -> io::Result<bool> {
        let output = &mut self.output;
        self.picture.with(|waiting| {
            while !waiting.is_empty() {
                match output.write(waiting) {
                    Ok(written) => drop(waiting.drain(..written)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(true)
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.restorer.restore();
        if !thread::panicking() {
            // Whoever panics later has nothing to give back.
            drop(panic::take_hook());
        }
    }
}

/// So that a panic's message is not lost with the alternate screen. Whoever draws then finds the terminal given back.
fn restore_on_panic(restorer: &Arc<Restorer>) {
    let restorer = Arc::downgrade(restorer);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(restorer) = restorer.upgrade() {
            restorer.restore();
        }
        before(info);
    }));
}

/// The terminal, opened anew: not waiting on it is then a thing of our own, and not of the shell that has it too.
fn writer(output: &impl AsFd) -> io::Result<File> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", output.as_fd().as_raw_fd());
    let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path);
    // It may belong to another user, after `su`: then it is written to as it is.
    opened.or_else(|_| output.as_fd().try_clone_to_owned().map(File::from))
}

fn size(terminal: &impl AsFd) -> io::Result<Rect> {
    let Winsize { ws_col, ws_row, .. } = tcgetwinsize(terminal)?;
    let or = |size: u16, standard: u16| if size == 0 { standard } else { size };
    Ok(Rect::new(0, 0, or(ws_col, 80).min(MOST_COLUMNS), or(ws_row, 24).min(MOST_ROWS)))
}

/// Keeps bold and reversed characters, and drops colours.
fn without_color(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use nix::pty::{OpenptyResult, openpty};

    use super::*;

    /// A panic gives back every terminal of the process: one at a time.
    static ONE: Mutex<()> = Mutex::new(());

    fn terminal() -> OpenptyResult {
        let window = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        openpty(Some(&window), None).unwrap()
    }

    fn same(a: &Termios, b: &Termios) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    #[test]
    fn a_terminal_is_given_back_as_it_was_even_when_the_program_panics() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let pty = terminal();
        let before = tcgetattr(&pty.slave).unwrap();
        let panicked = panic::catch_unwind(|| {
            let mut screen = Screen::enter(&pty.slave, &pty.slave, true).unwrap();
            assert!(!same(&tcgetattr(&pty.slave).unwrap(), &before), "it is raw");
            assert!(screen.draw(|area, buffer| buffer.set_string(area.x, 0, "x", Color::Red)).unwrap());
            panic!("a bug")
        });
        assert!(panicked.is_err());
        assert!(same(&tcgetattr(&pty.slave).unwrap(), &before));
        drop(pty.slave);
        let mut written = Vec::new();
        // It ends with an error, as nobody has the other side any more: tty(4).
        let _end = File::from(pty.master).read_to_end(&mut written);
        let text = String::from_utf8_lossy(&written);
        assert!(text.starts_with("\x1b[?1049h"), "{text:?}");
        assert_eq!(text.matches("\x1b[?25h\x1b[?1049l").count(), 1, "{text:?}");
    }

    #[test]
    fn a_terminal_that_takes_nothing_holds_up_nobody() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let pty = terminal();
        let before = tcgetattr(&pty.slave).unwrap();
        let mut screen = Screen::enter(&pty.slave, &pty.slave, false).unwrap();
        let mut drawn = 0;
        // Nobody reads the other side.
        for turn in 0..10_000 {
            let fill = if turn % 2 == 0 { "a" } else { "b" };
            let took = screen.draw(|area, buffer| {
                for y in 0..area.height {
                    buffer.set_string(0, y, fill.repeat(80), Color::Red);
                }
            });
            if !took.unwrap() {
                break;
            }
            drawn += 1;
        }
        assert!(drawn < 10_000, "a pseudo-terminal keeps some kilobytes");
        let waiting = screen.picture.with(|waiting| waiting.len());
        assert!(!screen.draw(|_, _| panic!("it is not drawn on")).unwrap());
        assert_eq!(screen.picture.with(|waiting| waiting.len()), waiting, "nothing piles up");
        drop(screen);
        assert!(same(&tcgetattr(&pty.slave).unwrap(), &before));
    }

    #[test]
    fn a_panic_beside_it_ends_the_drawing() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let pty = terminal();
        let before = tcgetattr(&pty.slave).unwrap();
        let mut screen = Screen::enter(&pty.slave, &pty.slave, true).unwrap();
        let panicked = thread::spawn(|| panic!("a bug")).join();
        assert!(panicked.is_err());
        assert!(same(&tcgetattr(&pty.slave).unwrap(), &before));
        let drawn = screen.draw(|_, _| ());
        assert!(drawn.is_err_and(|error| error.to_string().contains("failed")));
    }

    #[test]
    fn without_colours_only_colours_go() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        let style = ratatui::style::Style::new().fg(Color::Red).reversed();
        buffer.set_string(0, 0, "x", style);
        without_color(&mut buffer);
        assert_eq!(buffer[(0, 0)].fg, Color::Reset);
        assert!(buffer[(0, 0)].modifier.contains(ratatui::style::Modifier::REVERSED));
    }
}
