//! Decodes JPEG pictures (ITU-T T.81: baseline, extended and progressive, Huffman-coded, 8 bits).
//!
//! Two things are asked of a decoder here that together no crate gives. Pixels have to be those of
//! Pillow, that is of libjpeg-turbo with its defaults, in every bit: published accuracies were
//! measured with them. The accurate integer inverse DCT ([`idct`]) and the smooth upsampling of
//! chroma ([`colour`]) therefore follow libjpeg's documented arithmetic. And a picture that is not
//! all there has to be told from a whole one: where libjpeg goes on with zeros, [`Jpeg::damage`]
//! says why.
//!
//! A sequential picture goes through one block of coefficients at a time; a progressive one keeps
//! them all until its last scan.

mod bits;
mod colour;
mod header;
mod idct;
mod scan;

use self::bits::Bits;
use self::header::{Frame, Reader, Scan};

/// A decoded picture.
pub(super) struct Jpeg {
    pub(super) width: usize,
    pub(super) height: usize,
    /// RGB, interleaved.
    pub(super) pixels: Vec<u8>,
    /// What follows `Exif\0\0` in the picture's EXIF segment.
    pub(super) exif: Option<Vec<u8>>,
    /// What is wrong with the data, if pixels had to be made up.
    pub(super) damage: Option<String>,
}

/// More bytes than this between a scan's last block and the next marker are no padding: somewhere
/// before, codes were misread.
const PADDING: usize = 64;

/// Whether the bytes start like a JPEG file.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes a file's bytes. With `salvage`, damaged data gives a picture with a
/// [`damage`](Jpeg::damage) where that is possible; else the first damage is the error.
pub(super) fn decode(bytes: &[u8], salvage: bool) -> Result<Jpeg, String> {
    let mut reader = Reader::new(bytes);
    let mut frame: Option<Frame> = None;
    let mut damage: Option<String> = None;
    while let Some(scan) = reader.next_scan(&mut frame)? {
        // `next_scan` checks that a frame comes before its scans.
        let Some(frame) = &mut frame else { continue };
        let found = run(frame, &mut reader, &scan);
        if let Some(found) = found {
            if !salvage {
                return Err(found);
            }
            damage.get_or_insert(found);
        }
    }
    let Some(mut frame) = frame else {
        return Err(match reader.ended() {
            true => "the file is truncated: it ends before the picture's size".into(),
            false => "it has no picture in it".into(),
        });
    };
    if let Some(found) = frame.missing() {
        let found = match reader.ended() {
            true => format!("the file is truncated: {found}"),
            false => format!("the picture is damaged or incomplete: {found}"),
        };
        if !salvage || frame.components.iter().any(|component| component.quantiser.is_none()) {
            return Err(found);
        }
        damage.get_or_insert(found);
    }
    frame.reconstruct();
    let colours = header::Colours::of(&frame, &reader)?;
    let (width, height) = (frame.width, frame.height);
    let pixels = colour::to_rgb(&frame, colours);
    Ok(Jpeg { width, height, pixels, exif: reader.exif, damage })
}

/// Decodes the entropy-coded data of a scan, and answers with what is wrong with it.
fn run(frame: &mut Frame, reader: &mut Reader<'_>, scan: &Scan) -> Option<String> {
    let mut bits = Bits::new(reader.rest());
    let done = scan::decode(frame, reader, scan, &mut bits);
    let left = bits.skip_to_marker();
    let marker = bits.rest().iter().find(|&&byte| byte != 0xff);
    let at_end = matches!(marker, None | Some(0xd9));
    reader.skip_to(bits.rest().len());
    match done {
        Err(scan::Damage::Missing { row }) if at_end => Some(format!(
            "the file is truncated: its data end in row {row} of {} pixels",
            frame.height
        )),
        Err(scan::Damage::Missing { row }) => Some(format!(
            "the picture is damaged: data are missing in row {row} of {} pixels",
            frame.height
        )),
        Err(scan::Damage::Code { row }) => Some(format!(
            "the picture is damaged: what stands in row {row} of {} pixels is no code",
            frame.height
        )),
        Ok(()) if left > PADDING => Some(format!(
            "the picture is damaged: after its last pixels there are {left} bytes more"
        )),
        Ok(()) => None,
    }
}
