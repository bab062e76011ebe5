//! From the text of an expression to tokens. One pass; the first character that fits nowhere ends it.

use super::tree::{Arithmetic, Compare, Logic, Operator, Span};
use super::{Kind, Problem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Letters, digits and `_`, no keyword: an attribute or a function.
    Word,
    /// Digits only.
    Digits,
    /// A string without its quotes, the escaped quote unescaped.
    String(String),
    /// A binary operator.
    Operator(Operator),
    Not,
    Like,
    Exists,
    In,
    True,
    False,
    Open,
    Close,
    Comma,
}

/// The tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with([' ', '\t', '\r', '\n']) {
            at += 1;
            continue;
        }
        let (kind, len) = token(rest).map_err(|(message, cure)| Problem {
            kind: Kind::Parse,
            offset: at,
            message,
            cure: cure.to_owned(),
        })?;
        tokens.push(Token { kind, span: Span { start: at, end: at + len } });
        at += len;
    }
    Ok(tokens)
}

/// The first token of a text that is not empty, and its bytes; or message and cure.
fn token(text: &str) -> Result<(TokenKind, usize), (String, &'static str)> {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    let second = chars.next();
    let operator = |operator, len| Ok((TokenKind::Operator(operator), len));
    match (first, second) {
        ('(', _) => Ok((TokenKind::Open, 1)),
        (')', _) => Ok((TokenKind::Close, 1)),
        (',', _) => Ok((TokenKind::Comma, 1)),
        ('=', Some('=')) => Err(("`==` is no operator".to_owned(), "write `=`")),
        ('=', _) => operator(Operator::Compare(Compare::Equal), 1),
        ('!', Some('=')) | ('<', Some('>')) => operator(Operator::Compare(Compare::NotEqual), 2),
        ('!', _) => Err(("`!` is no operator".to_owned(), "write `NOT`, or `!=`")),
        ('<', Some('=')) => operator(Operator::Compare(Compare::LessOrEqual), 2),
        ('<', _) => operator(Operator::Compare(Compare::Less), 1),
        ('>', Some('=')) => operator(Operator::Compare(Compare::GreaterOrEqual), 2),
        ('>', _) => operator(Operator::Compare(Compare::Greater), 1),
        ('*', _) => operator(Operator::Arithmetic(Arithmetic::Multiply), 1),
        ('/', _) => operator(Operator::Arithmetic(Arithmetic::Divide), 1),
        ('%', _) => operator(Operator::Arithmetic(Arithmetic::Remainder), 1),
        ('+', _) => operator(Operator::Arithmetic(Arithmetic::Add), 1),
        ('-', _) => operator(Operator::Arithmetic(Arithmetic::Subtract), 1),
        ('\'' | '"', _) => string(text, first),
        ('&', _) => Err(("`&` is no operator".to_owned(), "write `AND`")),
        ('|', _) => Err(("`|` is no operator".to_owned(), "write `OR`, or CONCAT(x, y)")),
        ('‘' | '’' | '“' | '”', _) => Err((format!("`{first}` is no quote of a string"), "write ' or \"")),
        (c, _) if is_word(c) => {
            let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
            Ok((word(text.get(..len).unwrap_or_default()), len))
        }
        (c, _) => Err((format!("`{}` cannot stand here", c.escape_debug()), "text stands in quotes: 'a-b'")),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn word(word: &str) -> TokenKind {
    let keywords = [
        ("AND", TokenKind::Operator(Operator::Logic(Logic::And))),
        ("OR", TokenKind::Operator(Operator::Logic(Logic::Or))),
        ("XOR", TokenKind::Operator(Operator::Logic(Logic::Xor))),
        ("NOT", TokenKind::Not),
        ("LIKE", TokenKind::Like),
        ("EXISTS", TokenKind::Exists),
        ("IN", TokenKind::In),
        ("TRUE", TokenKind::True),
        ("FALSE", TokenKind::False),
    ];
    let keyword = keywords.into_iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    match keyword {
        Some((_, kind)) => kind,
        None if word.bytes().all(|b| b.is_ascii_digit()) => TokenKind::Digits,
        None => TokenKind::Word,
    }
}

/// A string: a backslash takes the next character along. Only the escaped quote loses its backslash; `\%` and `\_` are
/// for LIKE, and any other backslash is itself.
fn string(text: &str, quote: char) -> Result<(TokenKind, usize), (String, &'static str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((TokenKind::String(value), at + 1));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, escaped)) if escaped == quote => value.push(quote),
            Some((_, other)) => value.extend(['\\', other]),
            None => break,
        }
    }
    Err(("this string has no end".to_owned(), "close it with the quote it began with; inside it, write \\' or \\\""))
}
