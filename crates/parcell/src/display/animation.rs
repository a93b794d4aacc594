//! Frames after each other, with a player in the notebook.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Bundle, Chart, Heatmap, Image, Number, Rich};

/// An animation has at most so many frames.
const FRAMES: usize = 2000;
/// The files of all frames together have at most so many bytes.
const BYTES: usize = 24 << 20;

/// A player for frames: pictures, heat maps or charts, all of one size.
///
/// It plays, pauses, and shows single frames by a slider. It needs no network, and is saved with
/// the notebook; where no html is shown, there is the first frame. Heat maps and charts get common
/// axes and colours where theirs are not set. All frames are drawn at once, on all threads of the
/// pool.
///
/// # Panics
/// If there are no frames, more than 2000, frames of different sizes, or more than 24 MiB of png.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::ndarray::Array2;
///
/// let wave = |t: usize| Array2::from_shape_fn((20, 40), |(i, j)| ((i + j + t) as f64 / 6.0).sin());
/// show(&animate((0..12).map(|t| heatmap(wave(t), Colormap::Cividis))).fps(8));
///
/// let moving = |t| Image::from_fn(64, 16, |x, _| if x == t { 1.0 } else { 0.0 });
/// show(&animate((0..64).map(moving)));
/// ```
#[track_caller]
pub fn animate<F: Frames>(frames: impl IntoIterator<Item = F>) -> Animation {
    let all: Vec<F> = frames.into_iter().take(FRAMES + 1).collect();
    assert!(
        all.len() <= FRAMES,
        "an animation has at most {FRAMES} frames; leave some out, for example with `.step_by(2)`"
    );
    Animation::new(F::images(all))
}

/// What animations are made of.
pub trait Frames: Sized {
    /// Draws all frames, in one size.
    fn images(all: Vec<Self>) -> Vec<Image>;
}

impl Frames for Image {
    fn images(all: Vec<Image>) -> Vec<Image> {
        all
    }
}

impl Frames for Heatmap {
    fn images(all: Vec<Heatmap>) -> Vec<Image> {
        Heatmap::images_alike(all)
    }
}

impl Frames for Chart {
    fn images(all: Vec<Chart>) -> Vec<Image> {
        Chart::images_alike(all)
    }
}

impl<F: Frames + Clone> Frames for &F {
    fn images(all: Vec<&F>) -> Vec<Image> {
        F::images(all.into_iter().cloned().collect())
    }
}

/// Frames that are played. Made by [`animate`].
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Animation {
    frames: Vec<Image>,
    fps: f64,
    looped: bool,
}

impl Animation {
    #[track_caller]
    fn new(frames: Vec<Image>) -> Animation {
        assert!(!frames.is_empty(), "an animation without frames has nothing to show");
        let size = frames[0].size();
        if let Some(other) = frames.iter().position(|frame| frame.size() != size) {
            panic!(
                "frame {other} is {:?}, frame 0 is {:?}: all frames must have one size",
                frames[other], frames[0]
            );
        }
        let bytes: usize = frames.iter().map(|frame| frame.file().len()).sum();
        assert!(
            bytes <= BYTES,
            "{} frames with {:.1} MiB of pictures exceed the {} MiB that a notebook takes well: \
             show fewer or smaller frames",
            frames.len(),
            bytes as f64 / f64::from(1 << 20),
            BYTES >> 20
        );
        Animation { frames, fps: 12.0, looped: true }
    }

    /// Sets how many frames are shown per second; 12 if it is not set.
    ///
    /// # Panics
    /// If it is not 0.1 to 60.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&animate([0, 255].map(|level| Image::gray8(1, 1, &[level]).scale(32))).fps(2));
    /// ```
    #[track_caller]
    pub fn fps(mut self, fps: impl Number) -> Animation {
        self.fps = fps.to_f64();
        let fps = self.fps;
        assert!((0.1..=60.0).contains(&fps), "{fps} frames per second: it must be 0.1 to 60");
        self
    }

    /// Whether it begins again after the last frame; it does if this is not set.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// show(&animate([Image::gray8(1, 1, &[0])]).looped(false));
    /// ```
    pub fn looped(mut self, looped: bool) -> Animation {
        self.looped = looped;
        self
    }

    /// The frames, for example to [save](Image::save) one.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(animate((0..3).map(|i| Image::gray8(1, 1, &[i]))).frames().len(), 3);
    /// ```
    #[must_use]
    pub fn frames(&self) -> &[Image] {
        &self.frames
    }

    fn html(&self) -> String {
        let mime = self.frames[0].mime();
        let mut files = self.frames.iter().map(|frame| STANDARD.encode(frame.file()));
        let first = files.next().map(|file| format!("data:{mime};base64,{file}"));
        let rest: Vec<String> = files.map(|file| format!("\"{file}\"")).collect();
        let width = self.frames[0].shown_size().map(|(width, _)| width.to_string());
        let (count, last) = (self.frames.len(), self.frames.len() - 1);
        // The files come last: nothing in them is replaced.
        include_str!("player.html")
            .replace("$COUNT", &count.to_string())
            .replace("$LAST", &last.to_string())
            .replace("$WIDTH", &width.unwrap_or_default())
            .replace("$DELAY", &format!("{:.0}", 1000.0 / self.fps))
            .replace("$LOOPED", &self.looped.to_string())
            .replace("$MIME", mime)
            .replace("$REST", &rest.join(", "))
            .replace("$FIRST", &first.unwrap_or_default())
    }

    fn describe(&self) -> String {
        let count = self.frames.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("<animation, {count} frame{plural}, {} per second>", self.fps)
    }
}

impl Rich for Animation {
    fn bundle(&self) -> Bundle {
        self.frames[0].described(self.describe()).with("text/html", self.html())
    }
}

impl fmt::Debug for Animation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::{Colormap, heatmap, plot};

    fn dot(level: u8) -> Image {
        Image::gray8(1, 1, &[level])
    }

    #[test]
    fn the_player_holds_all_frames_and_a_still() {
        let bundle = animate([dot(1), dot(2), dot(3)]).fps(4).looped(false).bundle();
        let html = bundle.get("text/html").unwrap();
        for level in 1..=3 {
            let file = STANDARD.encode(dot(level).file());
            assert_eq!(html.matches(&file).count(), 1, "frame {level}");
        }
        for part in ["max=\"2\"", "1 / 3", "setInterval(step, 250)", "!false"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("$WIDTH") && !html.contains("$MIME") && !html.contains("http"));
        assert_eq!(bundle.get("image/png"), Some(STANDARD.encode(dot(1).file()).as_str()));
        assert_eq!(bundle.get("text/plain"), Some("<animation, 3 frames, 4 per second>"));
    }

    #[test]
    fn heat_maps_and_charts_get_common_axes() {
        let maps = [[[0.0, 1.0]], [[0.0, 100.0]], [[f64::NAN, 5.0]]];
        let frames = animate(maps.map(|map| heatmap(map, Colormap::Grey)));
        let alone = heatmap(maps[0], Colormap::Grey).limits(0.0, 100.0);
        assert_eq!(frames.frames()[0].size(), frames.frames()[2].size());
        assert_ne!(frames.frames()[0], heatmap(maps[0], Colormap::Grey).image());
        assert!(alone.image().size() <= frames.frames()[0].size());
        let charts = [plot([0, 1], [0, 1]), plot([0, 1], [0, 1000])];
        let frames = animate(&charts);
        let alone = charts[0].clone().x_limits(-0.04, 1.04).y_limits(-40.0, 1040.0);
        assert_eq!(frames.frames()[0], alone.image());
    }

    #[test]
    #[should_panic(expected = "frame 1 is <png, 2 x 1 pixels>, frame 0 is <png, 1 x 1 pixels>")]
    fn sizes_must_be_equal() {
        let _wrong = animate([dot(0), Image::gray8(2, 1, &[0, 0])]);
    }

    #[test]
    #[should_panic(expected = "frame 1 has 1 rows x 2 columns, frame 0 has 1 x 3")]
    fn grids_must_be_of_one_shape() {
        let grids = [vec![vec![1, 2, 3]], vec![vec![1, 2]]];
        let _wrong = animate(grids.map(|grid| heatmap(grid, Colormap::Grey)));
    }

    #[test]
    #[should_panic(expected = "without frames")]
    fn no_frames_are_no_animation() {
        let _wrong = animate(Vec::<Image>::new());
    }

    #[test]
    #[should_panic(expected = "at most 2000 frames")]
    fn endless_frames_are_refused() {
        let _wrong = animate(std::iter::repeat_with(|| dot(0)));
    }

    #[test]
    #[should_panic(expected = "2 frames with 25.0 MiB of pictures exceed the 24 MiB")]
    fn too_many_bytes_are_refused() {
        let _wrong = animate(vec![Image::png_bytes(vec![0; 25 << 19]); 2]);
    }
}
