//! Pictures: inflate, PNG, zip members, and the resized pixels that the network reads.

const BAD: &str = "damaged data";

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u32,
    count: u32,
}

impl Bits<'_> {
    fn take(&mut self, n: u32) -> Result<u32, &'static str> {
        while self.count < n {
            let byte = *self.data.get(self.at).ok_or(BAD)?;
            self.at += 1;
            self.buffer |= u32::from(byte) << self.count;
            self.count += 8;
        }
        let out = self.buffer & ((1u32 << n) - 1);
        self.buffer >>= n;
        self.count -= n;
        Ok(out)
    }
}

/// A canonical Huffman code: how many codes there are of each length, and the symbols in order.
struct Huffman {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Huffman {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0u16; 16];
        for &length in lengths {
            counts[length as usize] += 1;
        }
        counts[0] = 0;
        let mut offsets = [0u16; 16];
        for length in 1..16 {
            offsets[length] = offsets[length - 1] + counts[length - 1];
        }
        let mut symbols = vec![0; lengths.len()];
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                symbols[offsets[length as usize] as usize] = symbol as u16;
                offsets[length as usize] += 1;
            }
        }
        Self { counts, symbols }
    }

    fn read(&self, bits: &mut Bits) -> Result<u16, &'static str> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0i32);
        for length in 1..16 {
            code |= bits.take(1)? as i32;
            let count = i32::from(self.counts[length]);
            if code - count < first {
                return self.symbols.get((index + code - first) as usize).copied().ok_or(BAD);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(BAD)
    }
}

/// Base and number of extra bits of each length symbol (from 257) and each distance symbol.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Unpacks a raw deflate stream (RFC 1951) into at most `limit` bytes.
pub(super) fn inflate(data: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
    let mut bits = Bits { data, at: 0, buffer: 0, count: 0 };
    let mut out: Vec<u8> = Vec::new();
    loop {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => {
                // A stored block starts at the next whole byte; the bit buffer never holds more
                // than 7 bits here.
                bits.count = 0;
                bits.buffer = 0;
                let header = bits.data.get(bits.at..bits.at + 4).ok_or(BAD)?;
                let size = u16::from_le_bytes([header[0], header[1]]) as usize;
                out.extend_from_slice(bits.data.get(bits.at + 4..bits.at + 4 + size).ok_or(BAD)?);
                bits.at += 4 + size;
            }
            1 => {
                let mut lengths = [8u8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                block(
                    &mut bits,
                    &mut out,
                    &Huffman::new(&lengths),
                    &Huffman::new(&[5; 30]),
                    limit,
                )?;
            }
            2 => {
                let (literals, distances, codes) = (
                    bits.take(5)? as usize + 257,
                    bits.take(5)? as usize + 1,
                    bits.take(4)? as usize + 4,
                );
                let mut lengths = [0u8; 19];
                for &slot in &ORDER[..codes] {
                    lengths[slot] = bits.take(3)? as u8;
                }
                let code = Huffman::new(&lengths);
                let mut lengths: Vec<u8> = Vec::new();
                while lengths.len() < literals + distances {
                    let (value, times) = match code.read(&mut bits)? {
                        16 => (*lengths.last().ok_or(BAD)?, 3 + bits.take(2)?),
                        17 => (0, 3 + bits.take(3)?),
                        18 => (0, 11 + bits.take(7)?),
                        length => (length as u8, 1),
                    };
                    lengths.extend((0..times).map(|_| value));
                }
                let (literal, distance) = lengths[..literals + distances].split_at(literals);
                block(&mut bits, &mut out, &Huffman::new(literal), &Huffman::new(distance), limit)?;
            }
            _ => return Err(BAD),
        }
        if last || out.len() > limit {
            return Ok(out);
        }
    }
}

fn block(
    bits: &mut Bits,
    out: &mut Vec<u8>,
    literals: &Huffman,
    distances: &Huffman,
    limit: usize,
) -> Result<(), &'static str> {
    while out.len() <= limit {
        match literals.read(bits)? {
            256 => return Ok(()),
            symbol @ ..256 => out.push(symbol as u8),
            symbol => {
                let (base, extra) = *LENGTHS.get(symbol as usize - 257).ok_or(BAD)?;
                let length = base as usize + bits.take(u32::from(extra))? as usize;
                let symbol = u32::from(distances.read(bits)?);
                let distance = if symbol < 4 {
                    symbol as usize + 1
                } else {
                    let extra = (symbol - 2) / 2;
                    ((2 + symbol as usize % 2) << extra) + 1 + bits.take(extra)? as usize
                };
                let start = out.len().checked_sub(distance).ok_or(BAD)?;
                for offset in 0..length {
                    out.push(out[start + offset]);
                }
            }
        }
    }
    Err("more data than expected")
}

/// Finds the members of a zip archive: name and unpacked bytes of those that `wanted` names.
pub(super) fn unzip(
    data: &[u8],
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let u16_at = |at: usize| {
        data.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]) as usize).ok_or(BAD)
    };
    let u32_at = |at: usize| {
        data.get(at..at + 4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
            .ok_or(BAD)
    };
    let end = data.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or("not a zip archive")?;
    let (count, mut at) = (u16_at(end + 10)?, u32_at(end + 16)?);
    let mut out = Vec::new();
    for _ in 0..count {
        let (method, packed, size) = (u16_at(at + 10)?, u32_at(at + 20)?, u32_at(at + 24)?);
        let (name_len, extra, comment, local) =
            (u16_at(at + 28)?, u16_at(at + 30)?, u16_at(at + 32)?, u32_at(at + 42)?);
        let name =
            String::from_utf8_lossy(data.get(at + 46..at + 46 + name_len).ok_or(BAD)?).into_owned();
        at += 46 + name_len + extra + comment;
        if wanted(&name) {
            let start = local + 30 + u16_at(local + 26)? + u16_at(local + 28)?;
            let body = data.get(start..start + packed).ok_or(BAD)?;
            out.push((name, if method == 0 { body.to_vec() } else { inflate(body, size)? }));
        }
    }
    Ok(out)
}

/// A decoded picture: `[height, width, channels]` bytes, 1 (grey) or 3 (RGB) channels.
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) pixels: Vec<u8>,
}

/// Decodes a PNG that is not interlaced; alpha is dropped, 16 bits become 8, a palette becomes RGB.
pub(super) fn png(data: &[u8]) -> Result<Picture, &'static str> {
    let body = data.strip_prefix(b"\x89PNG\r\n\x1a\n").ok_or("not a PNG")?;
    let (mut at, mut header, mut packed, mut palette) = (0, None, Vec::new(), Vec::new());
    while let Some(start) = body.get(at..at + 8) {
        let size = u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize;
        let chunk = body.get(at + 8..at + 8 + size).ok_or(BAD)?;
        match &start[4..8] {
            b"IHDR" if size >= 13 => header = Some(chunk),
            b"IDAT" => packed.extend_from_slice(chunk),
            b"PLTE" => palette = chunk.to_vec(),
            b"IEND" => break,
            _ => {}
        }
        at += 12 + size;
    }
    let header = header.ok_or(BAD)?;
    let side = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let (width, height, depth, kind) = (side(0), side(4), header[8] as usize, header[9]);
    if header[12] != 0
        || width == 0
        || height == 0
        || width.saturating_mul(height) > 1 << 26
        || !matches!(depth, 1 | 2 | 4 | 8 | 16)
    {
        return Err("a kind of PNG that is not read here");
    }
    let samples = match kind {
        0 | 3 => 1,
        2 => 3,
        4 => 2,
        6 => 4,
        _ => return Err(BAD),
    };
    let line = (width * samples * depth).div_ceil(8);
    let step = (samples * depth / 8).max(1);
    let mut raw = inflate(packed.get(2..).ok_or(BAD)?, (line + 1) * height)?;
    if raw.len() < (line + 1) * height {
        return Err(BAD);
    }
    for row in 0..height {
        let (before, rest) = raw.split_at_mut(row * (line + 1));
        let above = before.len().checked_sub(line).map(|start| &before[start..]);
        let filter = rest[0];
        for i in 0..line {
            let left = if i >= step { rest[1 + i - step] } else { 0 };
            let up = above.map_or(0, |above| above[i]);
            let corner = if i >= step { above.map_or(0, |above| above[i - step]) } else { 0 };
            let guess = match filter {
                0 => 0,
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                4 => paeth(left, up, corner),
                _ => return Err(BAD),
            };
            rest[1 + i] = rest[1 + i].wrapping_add(guess);
        }
    }
    let channels = if kind == 0 || kind == 4 { 1 } else { 3 };
    let mut pixels = Vec::with_capacity(width * height * channels);
    for row in 0..height {
        let cells = &raw[row * (line + 1) + 1..][..line];
        let sample = |index: usize| match depth {
            8 => cells[index],
            16 => cells[index * 2],
            _ => {
                (cells[index * depth / 8] >> (8 - depth - index * depth % 8))
                    & ((1 << depth) - 1) as u8
            }
        };
        for column in 0..width {
            match kind {
                3 => {
                    let entry = sample(column) as usize * 3;
                    pixels.extend_from_slice(palette.get(entry..entry + 3).ok_or(BAD)?);
                }
                0 if depth < 8 => {
                    pixels.push((sample(column) as usize * 255 / ((1 << depth) - 1)) as u8)
                }
                _ => pixels.extend((0..channels).map(|channel| sample(column * samples + channel))),
            }
        }
    }
    Ok(Picture { width, height, channels, pixels })
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let (to_left, to_up, to_corner) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_up && to_left <= to_corner {
        left
    } else if to_up <= to_corner {
        up
    } else {
        corner
    }
}

impl Picture {
    /// Box-averages to `[side, side, channels]` in 0..1, channel after channel; grey pictures are
    /// repeated when 3 channels are asked for.
    pub(super) fn resized(&self, side: usize, channels: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(side * side * channels);
        for channel in 0..channels {
            for y in 0..side {
                let (top, bottom) =
                    (y * self.height / side, ((y + 1) * self.height).div_ceil(side));
                for x in 0..side {
                    let (from, to) = (x * self.width / side, ((x + 1) * self.width).div_ceil(side));
                    let mut sum = 0u64;
                    for row in top..bottom {
                        for column in from..to {
                            let pixel = &self.pixels[(row * self.width + column) * self.channels..]
                                [..self.channels];
                            sum += if channels == 1 && self.channels == 3 {
                                pixel.iter().map(|&v| u64::from(v)).sum::<u64>() / 3
                            } else {
                                u64::from(pixel[channel.min(self.channels - 1)])
                            };
                        }
                    }
                    out.push(sum as f32 / ((bottom - top) * (to - from)) as f32 / 255.0);
                }
            }
        }
        out
    }
}
