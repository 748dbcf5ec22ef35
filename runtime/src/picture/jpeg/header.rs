//! Segments between the scans: sizes, tables, and what says which colours there are.

use super::bits::Huffman;

/// The place of each coefficient in a block, in the order of the file.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A coefficient of which no scan has told anything yet.
const UNSEEN: u8 = u8::MAX;

/// The picture's size and its components.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// Units of all components together, columns and rows.
    pub(super) units: (usize, usize),
    /// The largest sampling factors, horizontal and vertical.
    pub(super) sampling: (usize, usize),
}

/// One of the colours, in blocks of 8 x 8 pixels.
pub(super) struct Component {
    id: u8,
    /// Sampling factors, horizontal and vertical: the blocks of a unit.
    pub(super) sampling: (usize, usize),
    table: usize,
    /// The quantiser as it was at the beginning of the component's first scan, in rows.
    pub(super) quantiser: Option<[u16; 64]>,
    /// Pixels, columns and rows.
    pub(super) size: (usize, usize),
    /// Blocks of the component alone, columns and rows.
    pub(super) own: (usize, usize),
    /// Blocks with those that fill up the last units, columns and rows.
    pub(super) blocks: (usize, usize),
    /// Of a progressive picture the coefficients of each block, in rows.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// The pixels of all blocks, row by row.
    pub(super) plane: Vec<u8>,
    /// How many low bits of each coefficient are not known yet.
    pub(super) unknown: [u8; 64],
}

/// A scan: which components, and of a progressive picture what of them.
pub(super) struct Scan {
    /// For each component its index and those of its DC and AC tables.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient in the order of the file.
    pub(super) band: (usize, usize),
    /// The bit that the scan adds, if one went before.
    pub(super) refines: bool,
    /// The lowest bit that it tells.
    pub(super) bit: u32,
}

/// How the components make colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    /// Inverted, as Adobe's programs write it and Pillow always takes it.
    Cmyk,
    /// The same with the first three components as Y, Cb and Cr.
    Ycck,
}

impl Colours {
    /// What libjpeg takes them for.
    pub(super) fn of(frame: &Frame, reader: &Reader<'_>) -> Result<Self, String> {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        Ok(match (ids.len(), reader.adobe) {
            (1, _) => Self::Grey,
            (3, _) if reader.jfif => Self::YCbCr,
            (3, Some(0)) => Self::Rgb,
            (3, None) if ids == *b"RGB" => Self::Rgb,
            (3, _) => Self::YCbCr,
            (4, Some(0) | None) => Self::Cmyk,
            (4, Some(_)) => Self::Ycck,
            (count, _) => return Err(format!("it has {count} components; 1, 3 and 4 are known")),
        })
    }
}

/// Reads segments.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    ended: bool,
    jfif: bool,
    /// The colour transform of Adobe's segment.
    adobe: Option<u8>,
    pub(super) exif: Option<Vec<u8>>,
    quantisers: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// Units between restart markers; 0: there are none.
    pub(super) restart: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            ended: false,
            jfif: false,
            adobe: None,
            exif: None,
            quantisers: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
        }
    }

    /// Whether the file ends without the marker of its end.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Everything from here on.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Goes to the place with `left` bytes behind it.
    pub(super) fn skip_to(&mut self, left: usize) {
        self.at = self.bytes.len() - left;
    }

    /// Reads segments up to the next scan's data; `None`: there are no more scans.
    pub(super) fn next_scan(&mut self, frame: &mut Option<Frame>) -> Result<Option<Scan>, String> {
        loop {
            let Some((marker, segment)) = self.segment() else { return Ok(None) };
            match marker {
                0xc0..=0xc2 if frame.is_some() => return Err("it has two frames".into()),
                0xc0..=0xc2 => *frame = Some(Frame::read(segment, marker == 0xc2)?),
                0xc4 => self.huffman(segment)?,
                0xda => {
                    let frame = frame.as_mut().ok_or("a scan stands before the picture's size")?;
                    return self.scan(segment, frame).map(Some);
                }
                0xdb => self.quantiser(segment)?,
                0xdd => match *segment {
                    [high, low] => self.restart = usize::from(u16::from_be_bytes([high, low])),
                    _ => return Err("its restart interval is damaged".into()),
                },
                0xe0 => self.jfif |= segment.starts_with(b"JFIF\0"),
                0xe1 => {
                    if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                        self.exif.get_or_insert_with(|| exif.to_vec());
                    }
                }
                0xee if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                    self.adobe = Some(segment[11]);
                }
                0xc3 | 0xc5..=0xc7 => {
                    return Err("lossless or hierarchical JPEG is not read".into());
                }
                0xc9..=0xcb | 0xcd..=0xcf => {
                    return Err("JPEG with arithmetic coding is not read".into());
                }
                _ => {}
            }
        }
    }

    /// The next marker and what belongs to it; `None` at the end.
    fn segment(&mut self) -> Option<(u8, &'a [u8])> {
        let found = self.marker();
        if found.is_none() {
            self.ended = true;
        }
        found.filter(|(marker, _)| *marker != 0xd9)
    }

    fn marker(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            self.at += self.rest().iter().position(|&byte| byte == 0xff)?;
            self.at += self.rest().iter().position(|&byte| byte != 0xff)?;
            let marker = self.bytes[self.at];
            self.at += 1;
            match marker {
                0xd9 => return Some((marker, &[])),
                // A stuffed byte, or a marker without a segment.
                0x00 | 0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let len = self.rest().first_chunk().map(|len| u16::from_be_bytes(*len))?;
                    let segment = self.rest().get(2..usize::from(len))?;
                    self.at += usize::from(len);
                    return Some((marker, segment));
                }
            }
        }
    }

    fn quantiser(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = "its quantisers are damaged";
        while let [kind, rest @ ..] = segment {
            let bytes = if kind >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * bytes).ok_or(damaged)?;
            let slot = self.quantisers.get_mut(usize::from(kind & 15)).ok_or(damaged)?;
            let mut table = [0; 64];
            for (&place, value) in ZIGZAG.iter().zip(values.chunks_exact(bytes)) {
                table[place] = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            *slot = Some(table);
            segment = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = "its Huffman codes are damaged";
        while let [kind, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(damaged)?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or(damaged)?;
            let code = Huffman::new(counts, symbols).ok_or(damaged)?;
            let (class, slot) = (kind >> 4, usize::from(kind & 15));
            if class > 1 || slot > 3 || (class == 0 && !code.is_within(15)) {
                return Err(damaged.into());
            }
            if class == 0 {
                self.dc[slot] = Some(code)
            } else {
                self.ac[slot] = Some(code)
            }
            segment = rest;
        }
        Ok(())
    }

    /// Reads a scan's header, and prepares the components that it is the first one of.
    fn scan(&mut self, segment: &[u8], frame: &mut Frame) -> Result<Scan, String> {
        let damaged = || "a scan's header is damaged".to_owned();
        let (&count, rest) = segment.split_first().ok_or_else(damaged)?;
        let (pairs, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(damaged)?;
        let &[first, last, bits] = rest else { return Err(damaged()) };
        let mut components = Vec::new();
        for pair in pairs.as_chunks::<2>().0 {
            let found = frame.components.iter().position(|component| component.id == pair[0]);
            let tables = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            let index = found.filter(|_| tables.0 < 4 && tables.1 < 4).ok_or_else(damaged)?;
            if components.iter().any(|&(other, _, _)| other == index) {
                return Err(damaged());
            }
            components.push((index, tables.0, tables.1));
        }
        let mut scan = Scan {
            components,
            band: (usize::from(first), usize::from(last)),
            refines: bits >> 4 != 0,
            bit: u32::from(bits & 15),
        };
        if !frame.progressive {
            // Old encoders leave these at anything.
            (scan.band, scan.refines, scan.bit) = ((0, 63), false, 0);
        }
        let (first, last) = scan.band;
        let alone = scan.components.len() == 1;
        let makes_sense = !scan.components.is_empty()
            && first <= last
            && last < 64
            && scan.bit <= 13
            && (!scan.refines || u32::from(bits >> 4) == scan.bit + 1)
            && (!frame.progressive || if first == 0 { last == 0 } else { alone });
        if !makes_sense {
            return Err(damaged());
        }
        let (needs_dc, needs_ac) = (first == 0 && !scan.refines, last > 0);
        for &(index, dc, ac) in &scan.components {
            if needs_dc && self.dc[dc].is_none() || needs_ac && self.ac[ac].is_none() {
                return Err("a Huffman code is missing".into());
            }
            let component = &mut frame.components[index];
            if component.quantiser.is_none() {
                let table = self.quantisers.get(component.table).copied().flatten();
                component.quantiser = Some(table.ok_or("a quantiser is missing")?);
                component.allocate(frame.progressive);
            }
        }
        Ok(scan)
    }
}

impl Frame {
    fn read(segment: &[u8], progressive: bool) -> Result<Self, String> {
        let damaged = || "the picture's header is damaged".to_owned();
        let (&[bits, h1, h0, w1, w0, count], rest) =
            segment.split_first_chunk().ok_or_else(damaged)?;
        if bits != 8 {
            return Err(format!("JPEG with {bits} bits a colour is not read, only with 8"));
        }
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        let (height, width) = (usize::from(height), usize::from(width));
        if height == 0 || width == 0 {
            return Err("the picture is empty".into());
        }
        super::super::size::check_size(width, height)?;
        let specs = rest.as_chunks::<3>().0;
        if specs.len() != usize::from(count) || !matches!(count, 1 | 3 | 4) {
            return Err(format!("it has {count} components; 1, 3 and 4 are known"));
        }
        let factors = |spec: &[u8; 3]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        let sampling = specs.iter().map(factors).fold((1, 1), |(h, v), s| (h.max(s.0), v.max(s.1)));
        let units = (width.div_ceil(8 * sampling.0), height.div_ceil(8 * sampling.1));
        let mut components = Vec::new();
        for spec in specs {
            let (h, v) = factors(spec);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(damaged());
            }
            if sampling.0 % h != 0 || sampling.1 % v != 0 {
                return Err(
                    "its chroma is sampled in a fraction of pixels, which is not read".into()
                );
            }
            let size = ((width * h).div_ceil(sampling.0), (height * v).div_ceil(sampling.1));
            components.push(Component {
                id: spec[0],
                sampling: (h, v),
                table: usize::from(spec[2]),
                quantiser: None,
                size,
                own: (size.0.div_ceil(8), size.1.div_ceil(8)),
                blocks: (units.0 * h, units.1 * v),
                coefficients: Vec::new(),
                plane: Vec::new(),
                unknown: [UNSEEN; 64],
            });
        }
        Ok(Self { width, height, progressive, components, units, sampling })
    }

    /// What no scan has told, if there is anything.
    pub(super) fn missing(&self) -> Option<String> {
        let known = |component: &Component| component.unknown.iter().all(|&bits| bits == 0);
        if self.components.iter().all(known) {
            return None;
        }
        let unseen = self.components.iter().any(|component| component.unknown[0] == UNSEEN);
        Some(match (unseen, self.progressive) {
            (true, _) => "there are no data of some of its colours".into(),
            _ => "the scans that would have refined it are not there".into(),
        })
    }

    /// Makes a progressive picture's pixels.
    pub(super) fn reconstruct(&mut self) {
        for component in &mut self.components {
            let Some(quantiser) = component.quantiser.filter(|_| self.progressive) else {
                continue;
            };
            for (index, block) in std::mem::take(&mut component.coefficients).iter().enumerate() {
                component.put(index, &super::idct::block(block, &quantiser));
            }
        }
    }
}

impl Component {
    fn allocate(&mut self, progressive: bool) {
        let blocks = self.blocks.0 * self.blocks.1;
        // What is never told is grey.
        self.plane = vec![128; blocks * 64];
        if progressive {
            self.coefficients = vec![[0; 64]; blocks];
        }
    }

    /// Pixels from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.blocks.0 * 8
    }

    /// Stores the pixels of a block.
    pub(super) fn put(&mut self, index: usize, pixels: &[[u8; 8]; 8]) {
        let (row, column) = (index / self.blocks.0, index % self.blocks.0);
        let stride = self.stride();
        let first = row * 8 * stride + column * 8;
        for (row, pixels) in pixels.iter().enumerate() {
            self.plane[first + row * stride..][..8].copy_from_slice(pixels);
        }
    }
}
