//! The colours of pages and pictures. Pages and SVG pictures name them as CSS variables; PNG
//! pictures take them as they stand here.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// Which colours a PNG picture has; an SVG picture has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    Light,
    /// Light on near-black.
    Dark,
}

/// Name, colour on a light ground, and colour on a dark one.
const COLOURS: [(&str, u32, u32); 24] = [
    ("surface", 0xff_ffff, 0x10_1317),
    ("raised", 0xf6_f7f9, 0x18_1d23),
    ("text", 0x1a_1e24, 0xe9_ecef),
    ("muted", 0x55_5e69, 0xa7_b0ba),
    ("grid", 0xe1_e5ea, 0x2a_3139),
    ("line", 0xcf_d5dc, 0x3a_434d),
    ("link", 0x0b_5fa5, 0x7c_bcf2),
    // What became of an attempt. All carry dark text, and any two can be told apart by people who
    // lack one kind of cones.
    ("gold", 0xf0_b323, 0xf0_b323),
    ("silver", 0x9a_a3a9, 0xa8_b7ca),
    ("bronze", 0xc4_7931, 0xbf_865a),
    ("valid", 0x6c_91cc, 0x57_8ea9),
    ("invalid", 0xc1_c7cc, 0x84_888d),
    ("infra", 0xf2_abea, 0xe2_72f8),
    ("unfinished", 0xf4_f5f5, 0xdd_e0e5),
    ("on-medal", 0x1a_1e24, 0x1a_1e24),
    // What a search found, and lines that a comparison adds and takes away.
    ("mark", 0xff_e066, 0xff_e066),
    ("added", 0xdc_f3e4, 0x12_3a26),
    ("removed", 0xfb_e2e0, 0x4a_1f1f),
    ("s0", 0x0b_5fa5, 0x6c_b4f0),
    ("s1", 0xbd_4b05, 0xff_9a52),
    ("s2", 0x0b_755a, 0x4c_c9a0),
    ("s3", 0x92_3a80, 0xe0_8fce),
    ("s4", 0x57_4bc4, 0xa9_a2ff),
    ("s5", 0x5f_646b, 0xbd_c1c6),
];

/// Colours on paper, where they are not those of the light theme.
const PRINT: [(&str, u32); 6] = [
    ("raised", 0xff_ffff),
    ("text", 0x00_0000),
    ("muted", 0x44_4444),
    ("grid", 0xdd_dddd),
    ("line", 0x99_9999),
    ("link", 0x00_0000),
];

/// The colour of a name in a theme; `None` for an unknown name.
pub(crate) fn colour(name: &str, theme: Theme) -> Option<[u8; 3]> {
    let (_, light, dark) = COLOURS.iter().find(|(known, ..)| *known == name)?;
    let [_, r, g, b] = if theme == Theme::Light { *light } else { *dark }.to_be_bytes();
    Some([r, g, b])
}

/// All colours as CSS variables that follow the viewer's theme, and paper.
pub(crate) fn css() -> &'static str {
    static CSS: LazyLock<String> = LazyLock::new(|| {
        let block = |colours: &mut dyn Iterator<Item = (&str, u32)>| {
            colours.fold(String::new(), |mut css, (name, colour)| {
                let _ = write!(css, ";--{name}:#{colour:06x}");
                css
            })
        };
        let light = block(&mut COLOURS.iter().map(|(name, light, _)| (*name, *light)));
        let dark = block(&mut COLOURS.iter().map(|(name, _, dark)| (*name, *dark)));
        let print = block(&mut PRINT.into_iter());
        format!(
            ":root{{color-scheme:light dark{light}}}\n\
             @media (prefers-color-scheme:dark){{:root{{color-scheme:light dark{dark}}}}}\n\
             @media print{{:root{{color-scheme:light{light}{print}}}}}\n"
        )
    });
    &CSS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How colours look without one kind of cones.
    ///
    /// # Source
    /// Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color
    /// vision deficiency" (2009), severity 1, on linear RGB.
    const EYES: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    fn times(matrix: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
    }

    fn linear(rgb: [u8; 3]) -> [f64; 3] {
        rgb.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn lab(linear: [f64; 3]) -> [f64; 3] {
        let to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
        let xyz = times(to_xyz, linear.map(|c| c.clamp(0.0, 1.0)));
        let [x, y, z] = [xyz[0] / 0.9505, xyz[1], xyz[2] / 1.089]
            .map(|t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn outcomes_can_be_told_apart_with_two_kinds_of_cones() {
        let names = ["gold", "silver", "bronze", "valid", "invalid", "infra", "unfinished"];
        for theme in [Theme::Light, Theme::Dark] {
            for (i, a) in names.iter().enumerate() {
                for b in &names[..i] {
                    for eye in EYES {
                        let seen = |name| {
                            lab(times(eye, linear(colour(name, theme).expect("a known name"))))
                        };
                        let (x, y) = (seen(a), seen(b));
                        let apart =
                            x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
                        assert!(apart > 9.0, "{a} and {b}, {theme:?}: {apart:.1}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_style_sheet_has_every_colour_three_times() {
        for (name, ..) in COLOURS {
            let least = css().matches(&format!(";--{name}:#")).count();
            assert!(least >= 3, "{name}: {least}");
        }
        assert_eq!(colour("gold", Theme::Light), Some([0xf0, 0xb3, 0x23]));
        assert_eq!(colour("nothing", Theme::Light), None);
    }
}
