//! Patterns of LIKE (section 3.4.3): `%` is any run of characters, `_` one character, a backslash escapes both.

use super::SEGMENT_CHARS;
use memchr::memmem::Finder;
use smallvec::SmallVec;

/// A pattern, cut at its `%`.
#[derive(Debug)]
pub(super) enum Like {
    /// No `%`: the whole text.
    Whole(Anchored),
    /// Text before the first `%`, between two, after the last.
    Parts { head: Anchored, middle: Vec<Segment>, tail: Anchored },
}

/// What stands at an end of the pattern.
#[derive(Debug)]
pub(super) enum Anchored {
    Text(Box<str>),
    /// With `_`, which is `None` here.
    Mixed(Vec<Option<char>>),
}

/// What stands between two `%`.
#[derive(Debug)]
pub(super) enum Segment {
    Text(Box<Finder<'static>>),
    /// With `_`.
    Mixed(Search),
}

/// A search that steps through the text once and remembers every begun match as a bit (Baeza-Yates and Gonnet, "A new
/// approach to text searching", 1992).
#[derive(Debug)]
pub(super) struct Search {
    /// For each character of the segment, sorted: the places where it, or any, may stand.
    places: Vec<(char, Box<[u64]>)>,
    /// The places where any character may stand.
    any: Box<[u64]>,
    /// The bit of the last place in the last word.
    last: u64,
}

impl Like {
    /// Reads a pattern; `None` if more than [`SEGMENT_CHARS`] characters with `_` stand between two `%`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut segments: Vec<Vec<Option<char>>> = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let piece = match (c, chars.peek()) {
                ('%', _) => {
                    segments.push(Vec::new());
                    continue;
                }
                ('_', _) => None,
                ('\\', Some('%' | '_')) => chars.next(),
                _ => Some(c),
            };
            if let Some(segment) = segments.last_mut() {
                segment.push(piece);
            }
        }
        let tail = Anchored::new(segments.pop().unwrap_or_default());
        let mut segments = segments.into_iter();
        let Some(head) = segments.next() else { return Some(Self::Whole(tail)) };
        let middle = segments.filter(|segment| !segment.is_empty()).map(Segment::new);
        Some(Self::Parts { head: Anchored::new(head), middle: middle.collect::<Option<_>>()?, tail })
    }

    /// Whether it describes `value` from end to end. The first place where a segment fits is as good as any later one,
    /// so nothing is tried twice.
    pub(super) fn describes(&self, value: &str) -> bool {
        match self {
            Self::Whole(segment) => segment.after(value) == Some(""),
            Self::Parts { head, middle, tail } => {
                let inner = head.after(value).and_then(|rest| tail.before(rest));
                inner.is_some_and(|inner| {
                    middle.iter().try_fold(inner, |rest, segment| segment.after_first(rest)).is_some()
                })
            }
        }
    }
}

impl Anchored {
    fn new(pieces: Vec<Option<char>>) -> Self {
        match pieces.iter().copied().collect::<Option<String>>() {
            Some(text) => Self::Text(text.into()),
            None => Self::Mixed(pieces),
        }
    }

    /// What of `value` follows this at its beginning.
    fn after<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self {
            Self::Text(text) => value.strip_prefix(&**text),
            Self::Mixed(pieces) => {
                let mut chars = value.chars();
                pieces.iter().all(|piece| fits(*piece, chars.next())).then_some(chars.as_str())
            }
        }
    }

    /// What of `value` stands before this at its end.
    fn before<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self {
            Self::Text(text) => value.strip_suffix(&**text),
            Self::Mixed(pieces) => {
                let mut chars = value.chars();
                pieces.iter().rev().all(|piece| fits(*piece, chars.next_back())).then_some(chars.as_str())
            }
        }
    }
}

impl Segment {
    /// `None` if it is too long to be searched for.
    fn new(pieces: Vec<Option<char>>) -> Option<Self> {
        match Anchored::new(pieces) {
            Anchored::Text(text) => Some(Self::Text(Box::new(Finder::new(&*text).into_owned()))),
            Anchored::Mixed(pieces) if pieces.len() > SEGMENT_CHARS => None,
            Anchored::Mixed(pieces) => Some(Self::Mixed(Search::new(&pieces))),
        }
    }

    /// What of `value` follows the first place where this stands.
    fn after_first<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self {
            Self::Text(text) => value.get(text.find(value.as_bytes())? + text.needle().len()..),
            Self::Mixed(search) => search.after_first(value),
        }
    }
}

fn fits(piece: Option<char>, found: Option<char>) -> bool {
    found.is_some_and(|found| piece.is_none_or(|piece| piece == found))
}

impl Search {
    fn new(pieces: &[Option<char>]) -> Self {
        let words = pieces.len().div_ceil(64);
        let mut any = vec![0_u64; words].into_boxed_slice();
        let set = |mask: &mut [u64], place: usize| {
            if let Some(word) = mask.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        };
        for (place, _) in pieces.iter().enumerate().filter(|(_, piece)| piece.is_none()) {
            set(&mut any, place);
        }
        let mut chars: Vec<char> = pieces.iter().copied().flatten().collect();
        chars.sort_unstable();
        chars.dedup();
        let places = chars.into_iter().map(|c| {
            let mut mask = any.clone();
            for (place, _) in pieces.iter().enumerate().filter(|(_, piece)| **piece == Some(c)) {
                set(&mut mask, place);
            }
            (c, mask)
        });
        Self { places: places.collect(), last: 1 << (pieces.len().saturating_sub(1) % 64), any }
    }

    fn after_first<'v>(&self, value: &'v str) -> Option<&'v str> {
        let mut begun: SmallVec<[u64; 4]> = SmallVec::from_elem(0, self.any.len());
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            let mask = match self.places.binary_search_by_key(&c, |(c, _)| *c) {
                Ok(at) => self.places.get(at).map_or(&self.any, |(_, mask)| mask),
                Err(_) => &self.any,
            };
            let mut carry = 1;
            for (word, mask) in begun.iter_mut().zip(mask) {
                let next = *word >> 63;
                *word = ((*word << 1) | carry) & mask;
                carry = next;
            }
            if begun.last().is_some_and(|word| word & self.last != 0) {
                return Some(chars.as_str());
            }
        }
        None
    }
}
