//! A cable of TCP that a story can cut and mend: what is on the way while it is cut arrives when it is whole again, as it does where
//! a link is down for a while.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often those who wait look.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Between a port of its own and another one. Gone, with its connections, when dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_cut: AtomicBool,
    is_gone: AtomicBool,
}

impl Cable {
    /// To there, whole.
    pub fn to(there: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
        listener.set_nonblocking(true).expect("it is a socket");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let own = state.clone();
        thread::spawn(move || {
            while !own.is_gone.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((near, _)) => own.join(near, there),
                    Err(_) => thread::sleep(LOOK_EVERY),
                }
            }
        });
        Self { address, state }
    }

    /// Its near end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing goes through.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Release);
    }

    /// Everything goes through again.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::Release);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.state.is_gone.store(true, Ordering::Release);
    }
}

impl State {
    /// Carries both ways, until one end closes.
    fn join(self: &Arc<Self>, near: TcpStream, there: SocketAddr) {
        let state = self.clone();
        thread::spawn(move || {
            if !state.is_whole() {
                return;
            }
            let Ok(far) = TcpStream::connect(there) else { return };
            for stream in [&near, &far] {
                let _best_effort = stream.set_nonblocking(false);
                let _best_effort = stream.set_nodelay(true);
                let _best_effort = stream.set_read_timeout(Some(Duration::from_millis(50)));
            }
            if let (Ok(from), Ok(to)) = (near.try_clone(), far.try_clone()) {
                let other = state.clone();
                thread::spawn(move || other.carry(&from, &to));
            }
            state.carry(&far, &near);
        });
    }

    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut bytes = [0; 16 << 10];
        while self.is_whole() {
            let count = match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if !self.is_whole() || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _best_effort = from.shutdown(Shutdown::Both);
        let _best_effort = to.shutdown(Shutdown::Both);
    }

    /// Waits as long as it is cut. False where it is gone.
    fn is_whole(&self) -> bool {
        while self.is_cut.load(Ordering::Acquire) && !self.is_gone.load(Ordering::Acquire) {
            thread::sleep(LOOK_EVERY);
        }
        !self.is_gone.load(Ordering::Acquire)
    }
}
