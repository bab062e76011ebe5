//! `CloudEvent`: a record read as an event. It owns the record and remembers where the parts of the event lie in it;
//! nothing of the payload is copied or parsed.

use super::record::Record;
use smallvec::SmallVec;
use std::ops::Range;

/// An event. Its members are the context attributes and extensions and, if present, the payload under `data` or
/// `data_base64`, each name once, in the order received; of a binary event the payload comes last (event-patterns.md
/// rules 1 and 2).
#[derive(Debug)]
pub struct CloudEvent {
    /// The record it came as.
    pub record: Record,
    /// The mark of the tape on which it was noted where the values of its JSON lie; 0 if it was on none.
    pub noted: u64,
    parts: Parts,
}

/// How the event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The value is the event as JSON (`application/cloudevents+json`).
    Structured,
    /// Attributes in `ce_` headers, payload in the value.
    Binary,
    /// The record was no CloudEvent and was wrapped.
    Wrapped,
}

/// The value of a member, as it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// JSON text, checked to be valid, without white space around it.
    Json(&'a str),
    /// A string that is not written as JSON.
    Text(&'a str),
    /// Bytes; the member's value is their base64 string.
    Base64(&'a [u8]),
}

#[derive(Debug, Clone)]
enum Part {
    Record(Range<u32>),
    Extra(Range<u32>),
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Json,
    Text,
    Base64,
}

#[derive(Debug)]
struct Slot {
    name: Part,
    value: Part,
    encoding: Encoding,
    /// The node of the value on the tape that the event was decoded with; [`NO_NODE`] if that is not known.
    node: u32,
}

const NO_NODE: u32 = u32::MAX;

/// A member of an event, for who wants but some of them: only what is asked for is looked at.
#[derive(Debug, Clone, Copy)]
pub struct MemberPlace<'a> {
    event: &'a CloudEvent,
    slot: &'a Slot,
}

/// Where the parts of an event lie; made by a [`Builder`].
#[derive(Debug)]
pub struct Parts {
    form: Form,
    data_invalid: bool,
    id: Part,
    source: Part,
    kind: Part,
    members: SmallVec<[Slot; 12]>,
    /// Earlier values of names that stood twice.
    replaced: Vec<Slot>,
    /// The payload with the white space around its JSON.
    payload: Option<Part>,
    /// What does not lie in the record: mostly nothing, or a name.
    extra: SmallVec<[u8; 24]>,
}

impl CloudEvent {
    /// Joins a record with the parts found in it. `parts` must come from a builder over the same record.
    #[must_use]
    pub fn new(record: Record, parts: Parts) -> Self {
        Self { record, noted: 0, parts }
    }

    /// `id`, decoded.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(&self.parts.id)
    }

    /// `source`, decoded.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text(&self.parts.source)
    }

    /// `type`, decoded.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text(&self.parts.kind)
    }

    /// How it came.
    #[must_use]
    pub fn form(&self) -> Form {
        self.parts.form
    }

    /// The payload claims to be JSON but is not (rule 2).
    #[must_use]
    pub fn data_invalid(&self) -> bool {
        self.parts.data_invalid
    }

    /// The members in order: name (decoded) and value.
    pub fn members(&self) -> impl Iterator<Item = (&str, Content<'_>)> {
        let texts = Texts::of(self);
        self.parts.members.iter().map(move |slot| (texts.text(&slot.name), texts.content(slot)))
    }

    /// The earlier values of names that stood twice in a structured event, in the order received: only patterns of
    /// the `aws` dialect see them (event-patterns.md rule 5). Nearly always empty, and then free.
    pub fn replaced(&self) -> impl Iterator<Item = (&str, Content<'_>)> {
        let texts = Texts::by_part(self);
        self.parts.replaced.iter().map(move |slot| (texts.text(&slot.name), texts.content(slot)))
    }

    /// The members in order, each by where it lies.
    pub fn places(&self) -> impl Iterator<Item = MemberPlace<'_>> {
        self.parts.members.iter().map(|slot| MemberPlace { event: self, slot })
    }

    /// [`Self::replaced`], each by where it lies.
    pub fn replaced_places(&self) -> impl Iterator<Item = MemberPlace<'_>> {
        self.parts.replaced.iter().map(|slot| MemberPlace { event: self, slot })
    }

    /// The value of one member. It looks only at the names and at that value, not through the whole record as
    /// [`Self::members`] does.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Content<'_>> {
        let texts = Texts::by_part(self);
        let slot = self.parts.members.iter().find(|slot| self.bytes(&slot.name) == name.as_bytes())?;
        Some(texts.content(slot))
    }

    /// The payload as it came if `data` is JSON that has white space around it.
    #[must_use]
    pub fn spaced_payload(&self) -> Option<&[u8]> {
        self.parts.payload.as_ref().map(|part| self.bytes(part))
    }

    fn text(&self, part: &Part) -> &str {
        simdutf8::basic::from_utf8(self.bytes(part)).unwrap_or_default()
    }

    fn bytes(&self, part: &Part) -> &[u8] {
        part.of(self.record.bytes(), &self.parts.extra)
    }
}

impl<'a> MemberPlace<'a> {
    /// The bytes of its name, which are UTF-8.
    #[inline]
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        self.event.bytes(&self.slot.name)
    }

    /// Its value.
    #[must_use]
    pub fn content(self) -> Content<'a> {
        Texts::by_part(self.event).content(self.slot)
    }

    /// The node of its value on the tape of [`CloudEvent::noted`], if that is known.
    #[must_use]
    pub fn node(self) -> Option<usize> {
        usize::try_from(self.slot.node).ok().filter(|_| self.slot.node != NO_NODE)
    }
}

impl Part {
    #[inline]
    fn span(&self) -> Range<usize> {
        let (Self::Record(span) | Self::Extra(span)) = self;
        usize::try_from(span.start).unwrap_or(usize::MAX)..usize::try_from(span.end).unwrap_or(usize::MAX)
    }

    /// Its bytes in the buffer that it lies in: the record's or the extra one.
    #[inline]
    fn of<'a>(&self, record: &'a [u8], extra: &'a [u8]) -> &'a [u8] {
        let buffer = match self {
            Self::Record(_) => record,
            Self::Extra(_) => extra,
        };
        buffer.get(self.span()).unwrap_or_default()
    }
}

/// The buffers of an event, read as text as a whole where that is possible: a part of a text is at hand at once, a part
/// of bytes would have to be looked through for being text.
struct Texts<'a> {
    record: &'a [u8],
    extra: &'a [u8],
    record_text: Option<&'a str>,
}

impl<'a> Texts<'a> {
    fn of(event: &'a CloudEvent) -> Self {
        Self { record_text: simdutf8::basic::from_utf8(event.record.bytes()).ok(), ..Self::by_part(event) }
    }

    /// For one part or a few: each is looked through alone.
    fn by_part(event: &'a CloudEvent) -> Self {
        Self { record: event.record.bytes(), extra: &event.parts.extra, record_text: None }
    }

    fn content(&self, slot: &Slot) -> Content<'a> {
        match slot.encoding {
            Encoding::Json => Content::Json(self.text(&slot.value)),
            Encoding::Text => Content::Text(self.text(&slot.value)),
            Encoding::Base64 => Content::Base64(slot.value.of(self.record, self.extra)),
        }
    }

    fn text(&self, part: &Part) -> &'a str {
        match (part, self.record_text) {
            (Part::Record(_), Some(text)) => text.get(part.span()).unwrap_or_default(),
            (Part::Record(_), None) | (Part::Extra(_), _) => {
                simdutf8::basic::from_utf8(part.of(self.record, self.extra)).unwrap_or_default()
            }
        }
    }
}

/// Collects the parts of an event. What lies in the record's own buffer is remembered by place, anything else is
/// copied.
#[derive(Debug)]
pub struct Builder<'r> {
    record: &'r Record,
    parts: Parts,
}

impl<'r> Builder<'r> {
    /// Begins an event over `record`, with its three identifying attributes, decoded.
    #[must_use]
    pub fn new(record: &'r Record, form: Form, id: &str, source: &str, kind: &str) -> Self {
        let empty = || Part::Extra(0..0);
        let parts = Parts {
            form,
            data_invalid: false,
            id: empty(),
            source: empty(),
            kind: empty(),
            members: SmallVec::new(),
            replaced: Vec::new(),
            payload: None,
            extra: SmallVec::new(),
        };
        let mut this = Self { record, parts };
        this.parts.id = this.part(id.as_bytes());
        this.parts.source = this.part(source.as_bytes());
        this.parts.kind = this.part(kind.as_bytes());
        this
    }

    /// Adds a member whose name is not there yet.
    pub fn push(&mut self, name: &str, value: Content<'_>) {
        let slot = self.slot(name, value);
        self.parts.members.push(slot);
    }

    /// [`Self::push`] of a value of which the node on the tape is known that the event is decoded with.
    pub fn push_noted(&mut self, name: &str, value: Content<'_>, node: usize) {
        let slot = Slot { node: u32::try_from(node).unwrap_or(NO_NODE), ..self.slot(name, value) };
        self.parts.members.push(slot);
    }

    /// Notes an earlier value of a name that stood twice.
    pub fn replaced(&mut self, name: &str, value: Content<'_>) {
        let slot = self.slot(name, value);
        self.parts.replaced.push(slot);
    }

    /// Notes the payload as it came, with white space around its JSON.
    pub fn spaced_payload(&mut self, payload: &[u8]) {
        self.parts.payload = Some(self.part(payload));
    }

    /// Adds a member, or replaces the value of one that is there.
    pub fn member(&mut self, name: &str, value: Content<'_>) {
        let (value, encoding) = self.value(value);
        let at = self.parts.members.iter().position(|slot| self.slice(&slot.name) == name.as_bytes());
        match at.and_then(|i| self.parts.members.get_mut(i)) {
            Some(slot) => {
                slot.value = value;
                slot.encoding = encoding;
                slot.node = NO_NODE;
            }
            None => {
                let name = self.part(name.as_bytes());
                self.parts.members.push(Slot { name, value, encoding, node: NO_NODE });
            }
        }
    }

    /// Notes that the payload claims to be JSON but is not.
    pub fn data_invalid(&mut self) {
        self.parts.data_invalid = true;
    }

    /// The finished parts.
    #[must_use]
    pub fn finish(self) -> Parts {
        self.parts
    }

    fn slot(&mut self, name: &str, value: Content<'_>) -> Slot {
        let (value, encoding) = self.value(value);
        Slot { name: self.part(name.as_bytes()), value, encoding, node: NO_NODE }
    }

    fn slice(&self, part: &Part) -> &[u8] {
        part.of(self.record.bytes(), &self.parts.extra)
    }

    fn value(&mut self, value: Content<'_>) -> (Part, Encoding) {
        match value {
            Content::Json(text) => (self.part(text.as_bytes()), Encoding::Json),
            Content::Text(text) => (self.part(text.as_bytes()), Encoding::Text),
            Content::Base64(bytes) => (self.part(bytes), Encoding::Base64),
        }
    }

    fn part(&mut self, bytes: &[u8]) -> Part {
        if let Some(span) = self.record.span_of(bytes) {
            return Part::Record(span);
        }
        let start = u32::try_from(self.parts.extra.len()).unwrap_or(u32::MAX);
        self.parts.extra.extend_from_slice(bytes);
        Part::Extra(start..u32::try_from(self.parts.extra.len()).unwrap_or(u32::MAX))
    }
}
