//! Requests and answers on the wire: opaque bytes with a length in front.
//!
//! ```text
//! request   length u32 BE | bytes
//! answer    0x00 | length u32 BE | bytes
//!           0x01                             too much to do
//! ```

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory is taken in steps of this size while bytes arrive: a length alone costs nothing.
const CHUNK_BYTES: usize = 64 * 1024;

const ANSWER: u8 = 0;
const BUSY: u8 = 1;

/// Bounds the bytes that are being received on all streams together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    fn reserve(&self) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0 }
    }
}

/// Gives its bytes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Budget,
    bytes: usize,
}

impl Reserved {
    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= self.budget.max {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::OutOfMemory, "too much is being received at once"))
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that count against a [`Budget`] until they are handed on.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// `None` for what this node sends: it was counted where it was made.
    _reserved: Option<Reserved>,
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, _reserved: None }
    }
}

/// What a peer answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Bytes(Frame),
    Busy,
}

/// Reads and writes within limits.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) requests: Budget,
    pub(crate) responses: Budget,
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.request_bytes_max, &self.requests).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut kind = [0];
        io.read_exact(&mut kind).await?;
        match kind {
            [ANSWER] => read_frame(io, self.response_bytes_max, &self.responses).await.map(Answer::Bytes),
            [BUSY] => Ok(Answer::Busy),
            [other] => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{other} is no kind of answer")))
            }
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request.bytes, self.request_bytes_max).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer {
            Answer::Bytes(frame) => {
                io.write_all(&[ANSWER]).await?;
                write_frame(io, &frame.bytes, self.response_bytes_max).await
            }
            Answer::Busy => io.write_all(&[BUSY]).await,
        }
    }
}

async fn read_frame<T>(io: &mut T, bytes_max: usize, budget: &Budget) -> io::Result<Frame>
where
    T: AsyncRead + Unpin + Send,
{
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = check(u32::from_be_bytes(length) as usize, bytes_max)?;
    let mut reserved = budget.reserve();
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let start = bytes.len();
        let chunk = CHUNK_BYTES.min(length - start);
        reserved.grow(chunk)?;
        bytes.resize(start + chunk, 0);
        io.read_exact(&mut bytes[start..]).await?;
    }
    Ok(Frame { bytes, _reserved: Some(reserved) })
}

async fn write_frame<T>(io: &mut T, bytes: &[u8], bytes_max: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    let length = u32::try_from(check(bytes.len(), bytes_max)?).expect("limits are checked to fit four bytes");
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await
}

fn check(length: usize, bytes_max: usize) -> io::Result<usize> {
    if length <= bytes_max {
        return Ok(length);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{length} bytes, at most {bytes_max} are allowed"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test");

    fn codec() -> Codec {
        Codec {
            request_bytes_max: 100_000,
            response_bytes_max: 10,
            requests: Budget::new(150_000),
            responses: Budget::new(10),
        }
    }

    fn written(request: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut wire = Cursor::new(Vec::new());
        block_on(codec().write_request(&PROTOCOL, &mut wire, request.into()))?;
        Ok(wire.into_inner())
    }

    #[test]
    fn requests_come_back() {
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let wire = written(bytes.clone()).unwrap();
            let mut codec = codec();
            let frame = block_on(codec.read_request(&PROTOCOL, &mut Cursor::new(wire))).unwrap();
            assert_eq!(frame.bytes, bytes);
            assert_eq!(codec.requests.used.load(Ordering::Relaxed), length);
            drop(frame);
            assert_eq!(codec.requests.used.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn the_wire_is_pinned() {
        assert_eq!(written(vec![7, 8]).unwrap(), [0, 0, 0, 2, 7, 8]);
        let mut wire = Cursor::new(Vec::new());
        block_on(codec().write_response(&PROTOCOL, &mut wire, Answer::Bytes(vec![9].into()))).unwrap();
        assert_eq!(wire.into_inner(), [0, 0, 0, 0, 1, 9]);
        let mut wire = Cursor::new(Vec::new());
        block_on(codec().write_response(&PROTOCOL, &mut wire, Answer::Busy)).unwrap();
        assert_eq!(wire.into_inner(), [1]);
    }

    #[test]
    fn bad_input_is_refused_and_costs_nothing() {
        let cases: [(&[u8], io::ErrorKind); 5] = [
            (&[], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 0, 5, 1], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 0, 11], io::ErrorKind::InvalidData),
            (&[0, 255, 255, 255, 255], io::ErrorKind::InvalidData),
            (&[2], io::ErrorKind::InvalidData),
        ];
        for (wire, expected) in cases {
            let mut codec = codec();
            let error = block_on(codec.read_response(&PROTOCOL, &mut Cursor::new(wire))).unwrap_err();
            assert_eq!(error.kind(), expected, "{wire:?}");
            assert_eq!(codec.responses.used.load(Ordering::Relaxed), 0);
        }
        assert_eq!(written(vec![0; 100_001]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn all_streams_share_one_budget() {
        let wire = written(vec![1; 100_000]).unwrap();
        let mut codec = codec();
        let first = block_on(codec.read_request(&PROTOCOL, &mut Cursor::new(&wire))).unwrap();
        let error = block_on(codec.read_request(&PROTOCOL, &mut Cursor::new(&wire))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        drop(first);
        block_on(codec.read_request(&PROTOCOL, &mut Cursor::new(&wire))).unwrap();
    }
}
