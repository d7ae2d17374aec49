/// The language of a reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Korean,
    English,
}

impl Language {
    /// Korean, unless the texts hold more Latin letters than Hangul.
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut hangul, mut latin) = (0_usize, 0_usize);
        for c in texts.into_iter().flat_map(str::chars) {
            match c {
                // A syllable carries about as much text as two or three letters.
                '가'..='힣' => hangul += 2,
                c if c.is_ascii_alphabetic() => latin += 1,
                _ => {}
            }
        }
        if latin > hangul { Self::English } else { Self::Korean }
    }
}
