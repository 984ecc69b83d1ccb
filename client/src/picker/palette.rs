//! The picker's colours, or none: what they say, a mark or a word says too.

use ratatui::style::{Color, Modifier, Style};

use crate::listing::Colour;

/// How things of the screen look.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    colour: Colour,
}

impl Palette {
    /// With colours, or with bold, dim and reversed text only.
    pub fn new(colour: Colour) -> Self {
        Self { colour }
    }

    /// Text in `colour`, where there are colours.
    pub(super) fn tinted(self, colour: Color) -> Style {
        match self.colour {
            Colour::On => Style::new().fg(colour),
            Colour::Off => Style::new(),
        }
    }

    /// What matters less.
    pub(super) fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The bars at head and foot, and what is chosen.
    pub(super) fn reversed() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
