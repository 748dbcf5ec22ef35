//! Page-aligned memory, for arenas, scratches and packed weights.

use std::ffi::c_void;

use self::pages::Pages;

/// A block of zeroed, page-aligned bytes.
///
/// Anonymous pages cost nothing until they are touched, start at zero, and may be backed by huge
/// pages, which an arena and packed weights, streamed from end to end, profit from.
#[derive(Debug)]
pub struct Buffer {
    /// At least one byte, as nothing cannot be mapped.
    pages: Pages,
    len: usize,
}

impl Buffer {
    /// A zeroed buffer of `len` bytes.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    pub fn zeroed(len: usize) -> std::io::Result<Self> {
        Ok(Self { pages: pages::zeroed(len.max(1))?, len })
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.pages[..self.len]
    }

    /// The bytes, to be written.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.pages[..self.len]
    }

    /// The first byte.
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        self.pages.as_mut_ptr().cast()
    }
}

#[cfg(any(unix, windows))]
mod pages {
    /// Anonymous memory.
    pub(super) type Pages = memmap2::MmapMut;

    pub(super) fn zeroed(len: usize) -> std::io::Result<Pages> {
        let pages = Pages::map_anon(len)?;
        // Huge pages are a wish: without them everything works, a little slower.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(pages)
    }
}

/// Where no pages can be asked for: WebAssembly, whose memory is one array.
#[cfg(not(any(unix, windows)))]
mod pages {
    use std::ops::{Deref, DerefMut};

    use crate::kernels::LINE_BYTES;

    /// Cache lines.
    #[derive(Debug)]
    pub(super) struct Pages(Vec<Line>);

    #[derive(Clone, Copy, Debug)]
    #[repr(C, align(64))]
    struct Line([u8; LINE_BYTES]);

    pub(super) fn zeroed(len: usize) -> std::io::Result<Pages> {
        let (mut lines, count) = (Vec::new(), len.div_ceil(LINE_BYTES));
        lines.try_reserve_exact(count).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        lines.resize(count, Line([0; LINE_BYTES]));
        Ok(Pages(lines))
    }

    impl Deref for Pages {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            // SAFETY: a line is its bytes, without padding, and lines lie side by side.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&self.0[..])) }
        }
    }

    impl DerefMut for Pages {
        fn deref_mut(&mut self) -> &mut [u8] {
            let len = size_of_val(&self.0[..]);
            // SAFETY: as above; any bytes are a line.
            unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
        }
    }
}

/// A session's memory for activations. Its threads divide it in one of two ways at a time: with all layers in common,
/// into an arena and a scratch for each; with pictures of their own, into an arena with a scratch for each.
#[derive(Debug)]
pub struct Workspace {
    buffer: Buffer,
    /// Bytes from the start to the first scratch.
    arena_end: usize,
    scratch_distance: usize,
    apart: Apart,
}

/// How memory is divided among threads that share nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    /// Bytes from one thread's arena to the next one's.
    pub(crate) distance: usize,
    /// Bytes from a thread's arena to its scratch.
    pub(crate) scratch: usize,
}

/// Bytes of a page. What different threads write lies on different ones: no cache line is
/// shared, and nothing that a core fetches ahead, which it never does across pages.
const PAGE: usize = 4096;

impl Workspace {
    /// Zeroed memory for an arena and `threads` scratches of these numbers of bytes.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    pub fn new(arena_bytes: usize, scratch_bytes: usize, threads: usize) -> std::io::Result<Self> {
        Self::with_apart([arena_bytes, scratch_bytes], [0; 2], threads)
    }

    /// The same, and instead of it, at another time, room for an arena and a scratch of other numbers of bytes for each
    /// of the threads.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    pub(crate) fn with_apart(
        together: [usize; 2],
        apart: [usize; 2],
        threads: usize,
    ) -> std::io::Result<Self> {
        let paged = |[arena, scratch]: [usize; 2]| {
            let arena = arena.checked_next_multiple_of(PAGE)?;
            Some((arena, scratch.checked_next_multiple_of(PAGE)?))
        };
        let divided = || {
            let (arena_end, scratch_distance) = paged(together)?;
            let len = scratch_distance.checked_mul(threads)?.checked_add(arena_end)?;
            let (arena, scratch) = paged(apart)?;
            let apart = Apart { distance: arena.checked_add(scratch)?, scratch: arena };
            let len = len.max(apart.distance.checked_mul(threads)?);
            Some((len, arena_end, scratch_distance, apart))
        };
        let (len, arena_end, scratch_distance, apart) =
            divided().ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self { buffer: Buffer::zeroed(len)?, arena_end, scratch_distance, apart })
    }

    /// Where the arena starts.
    pub fn arena(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr()
    }

    /// Where the first thread's scratch starts; the others follow it at
    /// `scratch_distance`.
    pub fn scratch(&mut self) -> *mut c_void {
        // SAFETY: the buffer has `arena_end` bytes and those of the scratches, see `new`.
        unsafe { self.arena().byte_add(self.arena_end) }
    }

    /// Bytes from one scratch to the next.
    pub(crate) fn scratch_distance(&self) -> usize {
        self.scratch_distance
    }

    /// How threads divide it that share nothing; the first one's arena is [`arena`](Workspace::arena).
    pub(crate) fn apart(&self) -> Apart {
        self.apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_writable() {
        for len in [0, 1, 1023, 1024, 1025, 3_000_000] {
            let mut buffer = Buffer::zeroed(len).unwrap();
            assert_eq!((buffer.len(), buffer.as_bytes().len()), (len, len));
            assert_eq!(buffer.as_mut_ptr() as usize % 64, 0);
            assert!(buffer.as_bytes().iter().all(|&byte| byte == 0));
            buffer.as_mut_bytes().fill(1);
            assert_eq!(buffer.as_bytes().iter().map(|&byte| usize::from(byte)).sum::<usize>(), len);
        }
        assert!(Buffer::zeroed(usize::MAX).is_err());
    }
    #[test]
    fn scratches_follow_the_arena_on_pages_of_their_own() {
        let mut workspace = Workspace::new(4000, 4100, 3).unwrap();
        assert_eq!(workspace.scratch_distance(), 8192);
        assert_eq!(workspace.scratch() as usize - workspace.arena() as usize, 4096);
        assert_eq!(workspace.buffer.len(), 4096 + 3 * 8192);
        let mut none = Workspace::new(4000, 0, 3).unwrap();
        assert_eq!((none.scratch_distance(), none.buffer.len()), (0, 4096));
        assert_eq!(none.scratch() as usize - none.arena() as usize, 4096);
        for (arena, scratch) in [(usize::MAX, 0), (0, usize::MAX), (0, usize::MAX / 3)] {
            assert!(Workspace::new(arena, scratch, 4).is_err());
            assert!(Workspace::with_apart([0; 2], [arena, scratch], 4).is_err());
        }
    }

    #[test]
    fn either_division_has_room() {
        for (together, apart, len) in [
            ([4000, 4100], [4000, 100], 4096 + 3 * 8192),
            ([4000, 100], [4097, 100], 3 * (8192 + 4096)),
        ] {
            let workspace = Workspace::with_apart(together, apart, 3).unwrap();
            assert_eq!(workspace.buffer.len(), len);
            let Apart { distance, scratch } = workspace.apart();
            assert!(scratch >= apart[0] && distance >= scratch + apart[1]);
        }
    }
}
