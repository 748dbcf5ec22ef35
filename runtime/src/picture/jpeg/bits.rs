//! Bits of entropy-coded data, and Huffman codes.

/// Reads bits up to the next marker, and zeros after it.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits that were taken from `bytes`, the next one highest.
    buffer: u64,
    available: u32,
    /// How many of the available bits, the last ones, are zeros that stand for absent data.
    absent: u32,
    at_marker: bool,
}

/// The data end, or a marker stands where data should be.
pub(super) struct Absent;

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, buffer: 0, available: 0, absent: 0, at_marker: false }
    }

    /// What is left of the bytes: the next marker first, after [`Bits::skip_to_marker`].
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    fn refill(&mut self) {
        while self.available <= 56 {
            let byte = self.next_byte();
            self.absent += if byte.is_none() { 8 } else { 0 };
            self.buffer |= u64::from(byte.unwrap_or(0)) << (56 - self.available);
            self.available += 8;
        }
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        if self.at_marker {
            return None;
        }
        match self.bytes {
            [0xff, rest @ ..] => {
                // Any number of 0xff may stand before a marker, or before a stuffed zero.
                let code = rest.iter().position(|&byte| byte != 0xff);
                if let Some(0) = code.map(|at| rest[at]) {
                    self.bytes = &rest[code.unwrap_or(0) + 1..];
                    return Some(0xff);
                }
                self.at_marker = true;
                None
            }
            [byte, rest @ ..] => {
                self.bytes = rest;
                Some(*byte)
            }
            [] => {
                self.at_marker = true;
                None
            }
        }
    }

    /// The next 16 bits, which stay.
    #[inline]
    fn peek16(&mut self) -> usize {
        if self.available < 16 {
            self.refill();
        }
        (self.buffer >> 48) as usize
    }

    #[inline]
    fn consume(&mut self, count: u32) {
        self.buffer <<= count;
        self.available -= count;
    }

    /// The next `count` bits, at most 16.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> i32 {
        let bits = self.peek16() >> (16 - count);
        self.consume(count);
        bits as i32
    }

    /// A number of `count` bits in the code of differences and coefficients: those with a first bit
    /// of 0 are negative.
    #[inline]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        let bits = self.take(count);
        if bits < 1 << (count - 1) { bits - (1 << count) + 1 } else { bits }
    }

    /// Whether everything that was read was there.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Absent> {
        if self.absent > self.available { Err(Absent) } else { Ok(()) }
    }

    /// Whether a code that starts here may reach past the data's end.
    pub(super) fn is_ending(&self) -> bool {
        self.available.saturating_sub(self.absent) < 16
    }

    /// Drops what is left before the next marker, and says how many bytes that were, those of
    /// ones alone left out: with them some encoders fill up.
    pub(super) fn skip_to_marker(&mut self) -> usize {
        let unread = self.available.saturating_sub(self.absent) / 8;
        let mut left = 0;
        for index in 0..unread {
            let byte = (self.buffer << (self.available % 8)) >> (56 - 8 * index) & 0xff;
            left += usize::from(byte != 0xff);
        }
        while let Some(byte) = self.next_byte() {
            left += usize::from(byte != 0xff);
        }
        (self.buffer, self.available, self.absent) = (0, 0, 0);
        left
    }

    /// Passes a restart marker if one stands here, and says its number.
    pub(super) fn pass_restart(&mut self) -> Option<u8> {
        let code = self.bytes.iter().position(|&byte| byte != 0xff)?;
        match self.bytes[code] {
            marker @ 0xd0..=0xd7 => {
                self.bytes = &self.bytes[code + 1..];
                self.at_marker = false;
                Some(marker - 0xd0)
            }
            _ => None,
        }
    }
}

/// Codes of at most this many bits are looked up at once.
const SHORT: usize = 9;

/// A Huffman code of T.81, annex C.
#[derive(Clone)]
pub(super) struct Huffman {
    /// For each beginning of a code of at most [`SHORT`] bits its length and its symbol; a length
    /// of 0: it is longer.
    short: Vec<(u8, u8)>,
    /// For each length one more than the last code, to the left of 16 bits.
    end: [u32; 17],
    /// For each length what is added to a code for its place in `symbols`.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// A code from how many codes of each length there are, from 1 bit on, and their symbols.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut huffman = Self {
            short: vec![(0, 0); 1 << SHORT],
            end: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for len in 1..=16_usize {
            huffman.offset[len] = place as i32 - code as i32;
            for _ in 0..counts[len - 1] {
                let symbol = *symbols.get(place)?;
                if len <= SHORT {
                    let first = (code as usize) << (SHORT - len);
                    let range = first..first + (1 << (SHORT - len));
                    huffman.short.get_mut(range)?.fill((len as u8, symbol));
                }
                code += 1;
                place += 1;
            }
            if code > 1 << len {
                return None;
            }
            huffman.end[len] = code << (16 - len);
            code <<= 1;
        }
        Some(huffman)
    }

    /// The next symbol; `None`: the bits are no code.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let ahead = bits.peek16();
        let (len, symbol) = self.short[ahead >> (16 - SHORT)];
        if len > 0 {
            bits.consume(u32::from(len));
            return Some(symbol);
        }
        let len = (SHORT + 1..=16).find(|&len| (ahead as u32) < self.end[len])?;
        let place = (ahead >> (16 - len)) as i32 + self.offset[len];
        bits.consume(len as u32);
        self.symbols.get(place as usize).copied()
    }

    /// Whether every symbol is at most `largest`.
    pub(super) fn is_within(&self, largest: u8) -> bool {
        self.symbols.iter().all(|&symbol| symbol <= largest)
    }
}
