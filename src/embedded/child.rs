//! A child process that ends when ours does, however ours ends.
//!
//! ```text
//! our process ── keeper thread ── fork ─ setgid, setuid ─ prctl(PR_SET_PDEATHSIG) ─ still our child? ─ exec
//!                     └── waits until the child has ended, then reaps it
//! ```
//!
//! Linux sends the signal when the *thread* that forked ends, not the process: so a thread of its own forks and lives for
//! as long as the child does. Changing user clears the setting, and std runs `pre_exec` after changing user. If our process
//! died between fork and prctl, the parent is no longer us, and the child ends by itself. Elsewhere than on Linux the child
//! ends on [`Child::signal`] or drop only.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A child with a keeper. Dropped while it runs, it is killed.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    /// `Some` once the child is reaped: from then on its process id may be somebody else's.
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Ended {
    fn locked(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    /// Starts `command` in a process group of its own (so that a Ctrl-C at the terminal reaches us only); `last_signal` is
    /// what it gets if our process is gone.
    pub fn spawn(mut command: Command, last_signal: i32) -> io::Result<Self> {
        command.process_group(0);
        end_with_us(&mut command, last_signal);
        let ended = Arc::new(Ended::default());
        let (answer, started) = mpsc::sync_channel(1);
        let keeper_ended = Arc::clone(&ended);
        std::thread::Builder::new().name("docmill-keeper".to_owned()).spawn(move || {
            let spawned = command.spawn();
            // The command holds our ends of the child's files.
            drop(command);
            match spawned {
                Ok(child) => {
                    let _ = answer.send(Ok(child.id()));
                    keep(child, &keeper_ended);
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            }
        })?;
        let pid = started.recv().map_err(|_| io::Error::other("the thread that starts the process ended"))??;
        Ok(Self { pid, ended })
    }

    /// The process id; it may be somebody else's once the process has ended.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.locked()
    }

    /// Sends a signal; one that has ended gets none.
    pub fn signal(&self, signal: i32) {
        let status = self.ended.locked();
        if status.is_none() {
            // SAFETY: the child is not reaped while the lock is held, so the id is its own.
            unsafe { libc::kill(self.pid as libc::pid_t, signal) };
        }
    }

    /// Waits until it has ended, `limit` at most; `None` if it runs still.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        let mut status = self.ended.locked();
        while status.is_none() {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            status = self.ended.changed.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status().is_none() {
            self.signal(libc::SIGKILL);
            self.wait(Duration::from_secs(10));
        }
    }
}

/// Waits for the end without reaping, then reaps under the lock, so that nobody can signal a process id that is free again.
fn keep(mut child: std::process::Child, ended: &Ended) {
    loop {
        // SAFETY: all zeroes is a value of siginfo_t, and it outlives the call.
        let code = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, child.id() as libc::id_t, &mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if code == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    let mut status = ended.locked();
    // Without a status there is no child any more: somebody else reaped it.
    *status = Some(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0)));
    drop(status);
    ended.changed.notify_all();
}

/// Arranges that the system sends `last_signal` to the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
pub(super) fn end_with_us(command: &mut Command, last_signal: i32) {
    let us = std::process::id();
    let arrange = move || {
        // SAFETY: prctl with this option takes a number, getppid takes nothing; both are async-signal-safe.
        let (code, parent) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, last_signal as libc::c_ulong), libc::getppid()) };
        if code != 0 {
            return Err(io::Error::last_os_error());
        }
        if parent as u32 != us {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(arrange) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn end_with_us(_command: &mut Command, _last_signal: i32) {}

/// A port on 127.0.0.1 that nothing listened on a moment ago; somebody else may take it before the caller does.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
