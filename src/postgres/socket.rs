//! The socket under a connection for statements: with TLS or without, and with a bound on one message of the server. The driver
//! takes a message whole before anyone can look at it, and one row may have a gigabyte.
//!
//! The driver calls this for TLS at once (`sslnegotiation=direct`), so that plain connections pass here, too; what it would ask the
//! server first is asked here.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// "May I speak TLS", which is answered with one byte.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The kind of a message and its length.
const HEADER_BYTES: usize = 5;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes sockets.
#[derive(Clone)]
pub(super) struct Sockets {
    /// `None` for plain ones.
    pub tls: Option<MakeRustlsConnect>,
    /// Whether a server without TLS will not do.
    pub tls_required: bool,
    /// Whether the server expects TLS without being asked.
    pub tls_unasked: bool,
    pub bounds: Bounds,
}

/// How large a message may be, and whether one was larger: then the connection has ended.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub message_bytes_max: usize,
    pub overrun: Arc<AtomicBool>,
}

impl MakeTlsConnect<Socket> for Sockets {
    type Stream = Bounded;
    type TlsConnect = OneSocket;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<OneSocket, io::Error> {
        let tls = match &mut self.tls {
            Some(tls) => Some(MakeTlsConnect::<Socket>::make_tls_connect(tls, domain).map_err(io::Error::other)?),
            None => None,
        };
        Ok(OneSocket { tls, required: self.tls_required, unasked: self.tls_unasked, bounds: self.bounds.clone() })
    }
}

/// Makes one socket.
pub(super) struct OneSocket {
    tls: Option<Rustls>,
    required: bool,
    unasked: bool,
    bounds: Bounds,
}

impl TlsConnect<Socket> for OneSocket {
    type Stream = Bounded;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Bounded>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let inner = match self.tls {
                None => Inner::Plain(socket),
                Some(tls) => match self.unasked || may_speak_tls(&mut socket).await? {
                    true => Inner::Tls(Box::new(tls.connect(socket).await.map_err(io::Error::other)?)),
                    false if self.required => return Err(io::Error::other("server does not support TLS")),
                    false => Inner::Plain(socket),
                },
            };
            Ok(Bounded { inner, bounds: self.bounds, frames: Frames::default() })
        })
    }
}

async fn may_speak_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    Ok(socket.read_u8().await? == b'S')
}

enum Inner {
    Plain(Socket),
    Tls(Box<RustlsStream>),
}

/// A socket that fails when the server begins a message that is too large.
pub(super) struct Bounded {
    inner: Inner,
    bounds: Bounds,
    frames: Frames,
}

/// Where in the server's messages the bytes that were read end.
#[derive(Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    read: usize,
    /// Bytes of the body that are to come.
    body: usize,
}

impl Frames {
    /// Goes over what was read; whether no message is larger than that.
    fn pass(&mut self, mut bytes: &[u8], message_bytes_max: usize) -> bool {
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER_BYTES - self.read).min(bytes.len());
            self.header[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            self.read += taken;
            bytes = &bytes[taken..];
            if self.read == HEADER_BYTES {
                let [_, length @ ..] = self.header;
                // The length counts itself.
                self.body = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
                self.read = 0;
                if self.body > message_bytes_max {
                    return false;
                }
            }
        }
        true
    }
}

impl AsyncRead for Bounded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(match &mut this.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        if this.frames.pass(&buffer.filled()[before..], this.bounds.message_bytes_max) {
            return Poll::Ready(Ok(()));
        }
        this.bounds.overrun.store(true, Ordering::Release);
        let message = format!("a message of the server has more than {} bytes", this.bounds.message_bytes_max);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().inner {
            Inner::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Bounded {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Plain(_) => ChannelBinding::none(),
            Inner::Tls(stream) => stream.channel_binding(),
        }
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("tls_required", &self.tls_required).field("bounds", &self.bounds).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: usize) -> Vec<u8> {
        let mut bytes = vec![b'D'];
        bytes.extend(u32::try_from(body + 4).unwrap().to_be_bytes());
        bytes.extend(vec![b'x'; body]);
        bytes
    }

    #[test]
    fn a_message_is_measured_however_its_bytes_arrive() {
        let stream: Vec<u8> = [0, 1, 100, 7, 0, 99].into_iter().flat_map(message).collect();
        for piece in 1..=stream.len() {
            let mut frames = Frames::default();
            assert!(stream.chunks(piece).all(|bytes| frames.pass(bytes, 100)), "{piece}");
            assert!(!message(101).chunks(piece).all(|bytes| frames.pass(bytes, 100)), "{piece}");
        }
    }
}
