//! Colours for numbers.

/// A way from numbers to colours.
///
/// The first five run evenly from dark to bright, also for eyes that see few colours and in print;
/// their colours are those of matplotlib and d3 (crate `colorous`).
///
/// ```
/// use parcell::display::Colormap;
///
/// assert_eq!(Colormap::Viridis.rgb(0.0), [68, 1, 84]);
/// assert_eq!(Colormap::Grey.rgb(1.0), [255, 255, 255]);
/// assert_eq!(Colormap::all().len(), 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Colormap {
    /// Purple, green, yellow: good for almost everything.
    #[default]
    Viridis,
    /// Black, purple, orange, cream.
    Magma,
    /// Black, red, orange, light yellow.
    Inferno,
    /// Blue, red, yellow.
    Plasma,
    /// Blue, grey, yellow: the same to all eyes.
    Cividis,
    /// All colours, for many levels at a glance; not even in brightness.
    Turbo,
    /// Black to white.
    Grey,
    /// Blue, white, red: for values around a middle, with limits of equal distance to it
    /// (ColorBrewer's RdBu, reversed).
    BlueRed,
}

impl Colormap {
    /// All of them.
    ///
    /// ```
    /// assert!(parcell::display::Colormap::all().contains(&Default::default()));
    /// ```
    #[must_use]
    pub fn all() -> [Colormap; 8] {
        use Colormap::{BlueRed, Cividis, Grey, Inferno, Magma, Plasma, Turbo, Viridis};
        [Viridis, Magma, Inferno, Plasma, Cividis, Turbo, Grey, BlueRed]
    }

    /// Red, green and blue at a position from 0 to 1; what lies outside has the colour of the end.
    ///
    /// ```
    /// let [red, _, blue] = parcell::display::Colormap::BlueRed.rgb(0.9);
    /// assert!(red > blue);
    /// ```
    #[must_use]
    pub fn rgb(self, position: f64) -> [u8; 3] {
        let at = if position.is_nan() { 0.0 } else { position.clamp(0.0, 1.0) };
        let color = match self {
            Colormap::Viridis => colorous::VIRIDIS.eval_continuous(at),
            Colormap::Magma => colorous::MAGMA.eval_continuous(at),
            Colormap::Inferno => colorous::INFERNO.eval_continuous(at),
            Colormap::Plasma => colorous::PLASMA.eval_continuous(at),
            Colormap::Cividis => colorous::CIVIDIS.eval_continuous(at),
            Colormap::Turbo => colorous::TURBO.eval_continuous(at),
            Colormap::Grey => return [super::image::level(at); 3],
            Colormap::BlueRed => colorous::RED_BLUE.eval_continuous(1.0 - at),
        };
        color.into_array()
    }

    /// The colour of what has no place on the map: one that the map has not.
    pub(super) fn gap(self) -> [u8; 3] {
        match self {
            Colormap::Grey => [150, 190, 230],
            _ => [160, 160, 160],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_outside_have_the_colours_of_the_ends() {
        for map in Colormap::all() {
            assert_eq!(map.rgb(-3.0), map.rgb(0.0), "{map:?}");
            assert_eq!(map.rgb(f64::INFINITY), map.rgb(1.0), "{map:?}");
            assert_eq!(map.rgb(f64::NAN), map.rgb(0.0), "{map:?}");
        }
    }

    #[test]
    fn gaps_are_told_from_all_colours() {
        let difference = |a: [u8; 3], b: [u8; 3]| -> u32 {
            a.iter().zip(b).map(|(&a, b)| u32::from(a.abs_diff(b))).sum()
        };
        for map in Colormap::all() {
            let nearest = (0..=255).map(|i| difference(map.rgb(f64::from(i) / 255.0), map.gap()));
            assert!(nearest.min().unwrap() > 20, "{map:?}");
        }
    }
}
