//! Regular expressions of RFC 9485 (I-Regexp) for `match` and `search`: a pattern is checked against the RFC's
//! grammar and rewritten into the syntax of the crate `regex`, whose time is linear in the text.
//!
//! What only the crate knows never gets through: `\d`, lazy quantifiers, flags, set operators in classes. What means
//! something else there is rewritten: `.` takes no carriage return. `^` and `$` are the beginning and the end of the
//! text: the RFC's grammar passes them without a word, and the compliance suite of JSONPath and all engines read them so.

use regex::{Regex, RegexBuilder};

/// Bytes of a pattern at most: the crate bounds what it compiles, not what it reads.
const MAX_LENGTH: usize = 4_000;
/// Places a text may be at, with every repetition written out: the time for each character of a text.
const MAX_PLACES: usize = 4_000;
/// Bytes of a compiled pattern at most: a category may take 60 kB at each of its places.
const MAX_SIZE: usize = 4 << 20;
const MAX_NESTED: usize = 32;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Regexp {
    whole: Regex,
    part: Regex,
}

impl Regexp {
    /// Compiles a pattern; `None` if it is not well formed or is too large.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let part = translate(pattern)?;
        Some(Self { whole: compile(&format!(r"\A(?:{part})\z"))?, part: compile(&part)? })
    }

    /// Whether it describes the whole text, or else a part of it.
    pub(super) fn matches(&self, text: &str, whole: bool) -> bool {
        if whole { self.whole.is_match(text) } else { self.part.is_match(text) }
    }
}

/// The same pattern in the syntax of `regex`; `None` if the grammar does not have it or it is too long.
fn translate(pattern: &str) -> Option<String> {
    if pattern.len() > MAX_LENGTH {
        return None;
    }
    let mut translator = Translator { rest: pattern.chars().peekable(), nested: 0, written: String::new() };
    translator.choice()?;
    translator.rest.next().is_none().then_some(translator.written)
}

fn compile(translated: &str) -> Option<Regex> {
    RegexBuilder::new(translated).size_limit(MAX_SIZE).build().ok()
}

/// Reads the grammar of RFC 9485 section 4, rule by rule, and writes the same in the syntax of `regex`.
struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    nested: usize,
    written: String,
}

impl Translator<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    /// Writes a character that stands for itself, in a class or outside.
    fn literal(&mut self, c: char) {
        // `regex` lets all ASCII punctuation be escaped but `<` and `>`, which mean nothing by themselves.
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            self.written.push('\\');
        }
        self.written.push(c);
    }

    /// Alternatives; how many places they have.
    fn choice(&mut self) -> Option<usize> {
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return None;
        }
        let mut places = self.branch()?;
        while self.eat('|') {
            self.written.push('|');
            places += self.branch()?;
        }
        self.nested -= 1;
        (places <= MAX_PLACES).then_some(places)
    }

    fn branch(&mut self) -> Option<usize> {
        let mut places = 0;
        while let Some(c) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let mut inner = 1;
            match c {
                '(' => {
                    self.written.push_str("(?:");
                    // An empty group counts too, else `((){4000}){4000}` were free.
                    inner = self.choice()?.max(1);
                    if !self.eat(')') {
                        return None;
                    }
                    self.written.push(')');
                }
                '[' => self.class()?,
                '.' => self.written.push_str(r"[^\n\r]"),
                '\\' if self.category()? => {}
                '\\' => {
                    let c = self.escaped()?;
                    self.literal(c);
                }
                '*' | '+' | '?' | '{' | '}' | ']' => return None,
                '^' => self.written.push_str("\\A"),
                '$' => self.written.push_str("\\z"),
                c => self.literal(c),
            }
            places += inner * self.quantifier()?;
            if places > MAX_PLACES {
                return None;
            }
        }
        Some(places)
    }

    /// The quantifier, if one follows; how often what it repeats is compiled.
    fn quantifier(&mut self) -> Option<usize> {
        let Some(c) = self.rest.next_if(|c| matches!(c, '*' | '+' | '?' | '{')) else { return Some(1) };
        self.written.push(c);
        let mut times = 1;
        if c == '{' {
            times = self.number()?.max(1);
            if self.eat(',') {
                self.written.push(',');
                if self.rest.peek() != Some(&'}') {
                    times = self.number()?.max(times);
                }
            }
            if !self.eat('}') {
                return None;
            }
            self.written.push('}');
        }
        Some(times)
    }

    fn number(&mut self) -> Option<usize> {
        let mut text = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            text.push(digit);
        }
        let number = text.parse::<usize>().ok().filter(|n| *n <= MAX_PLACES)?;
        self.written.push_str(&number.to_string());
        Some(number)
    }

    /// The character after a backslash.
    fn escaped(&mut self) -> Option<char> {
        match self.rest.next()? {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            c @ ('(' | ')' | '*' | '+' | '-' | '.' | '?' | '[' | '\\' | ']' | '^' | '{' | '|' | '}') => Some(c),
            _ => None,
        }
    }

    /// What follows a backslash if it is a category, `p{Lu}` or `P{Lu}`; `false` if it is something else.
    fn category(&mut self) -> Option<bool> {
        let Some(p) = self.rest.next_if(|c| matches!(c, 'p' | 'P')) else { return Some(false) };
        if !self.eat('{') {
            return None;
        }
        let group = self.rest.next()?;
        let members = match group {
            'L' => "lmotu",
            'M' => "cen",
            'N' => "dlo",
            'P' => "cdefios",
            'Z' => "lps",
            'S' => "ckmo",
            'C' => "cfno",
            _ => return None,
        };
        self.written.extend(['\\', p, '{', group]);
        if let Some(member) = self.rest.next_if(|c| members.contains(*c)) {
            self.written.push(member);
        }
        self.written.push('}');
        self.eat('}').then_some(true)
    }

    fn class(&mut self) -> Option<()> {
        self.written.push('[');
        if self.eat('^') {
            self.written.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.next()? {
                ']' if !first => break,
                // A hyphen stands for itself at the beginning and at the end only.
                '-' if first || self.rest.peek() == Some(&']') => self.literal('-'),
                '[' | ']' | '-' => return None,
                '\\' if self.category()? => {}
                '\\' => {
                    let c = self.escaped()?;
                    self.range(c)?;
                }
                c => self.range(c)?,
            }
            first = false;
        }
        self.written.push(']');
        Some(())
    }

    /// A character of a class, and the end of its range if it begins one.
    fn range(&mut self, first: char) -> Option<()> {
        self.literal(first);
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('-') && ahead.peek() != Some(&']') {
            self.rest = ahead;
            let last = match self.rest.next()? {
                '\\' => self.escaped()?,
                '[' | ']' | '-' => return None,
                c => c,
            };
            self.written.push('-');
            self.literal(last);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Regexp;

    #[test]
    fn describes_whole_texts_and_parts() {
        let cases: [(&str, &[&str], &[&str]); 25] = [
            ("a.c", &["abc", "aéc", "a\u{2028}c"], &["ac", "abcc", "a\nc", "a\rc"]),
            ("(ab|cd)+e?", &["ab", "abcde"], &["", "e"]),
            ("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]),
            ("a{2}", &["aa"], &["a", "aaa"]),
            ("a{02}", &["aa"], &["a", "aaa"]),
            ("a{1,}", &["a", "aaaa"], &[""]),
            ("[^0-9x-]*", &["", "abc", "\n"], &["a1", "x", "-"]),
            ("[a-c\\]]", &["b", "]"], &["d"]),
            ("", &[""], &["a", "\n"]),
            ("a|", &["", "a"], &["aa"]),
            ("()*(|b)", &["", "b"], &["a"]),
            ("(a*)*b", &["b", "aab"], &["a"]),
            ("1\\.0|2", &["1.0", "2"], &["1x0", "1.02"]),
            // Ordinary characters that `regex` would take for more.
            ("^a.*", &["a", "ab"], &["^a"]),
            (".*b$", &["b", "ab"], &["b$", "b\n"]),
            ("[$]\\^", &["$^"], &[""]),
            ("a #<b>/&~'\"", &["a #<b>/&~'\""], &["a"]),
            ("\\n\\r\\t\\(\\)\\*\\+\\-\\.\\?\\[\\\\\\]\\^\\{\\|\\}", &["\n\r\t()*+-.?[\\]^{|}"], &[""]),
            ("[a-z&&b]", &["a", "&"], &["z&"]),
            ("[a~~b.|(]", &["a", "~", "b", ".", "|", "("], &["c"]),
            ("[\\[:alpha:\\]]", &["[", ":", "h", "]"], &["b"]),
            ("[-a^]", &["-", "a", "^"], &["b"]),
            ("[+-\\-<->#]", &["+", ",", "-", "=", "#"], &[".", "?"]),
            ("[\\p{Lu}_-]\\P{L}", &["É1", "_-"], &["é1", "ÉA"]),
            ("[^\\P{L}a-z]", &["A", "é"], &["a", "1"]),
        ];
        for (pattern, yes, no) in cases {
            let regexp = Regexp::parse(pattern).unwrap_or_else(|| panic!("{pattern}"));
            assert!(yes.iter().all(|text| regexp.matches(text, true)), "{pattern}");
            assert!(!no.iter().any(|text| regexp.matches(text, true)), "{pattern}");
        }
        for (pattern, yes, no) in [("b+c", "aabbcd", "abab"), ("a|b", "xb", "x"), ("^b", "ba", "a\nb")] {
            let regexp = Regexp::parse(pattern).unwrap();
            assert!(regexp.matches(yes, false) && !regexp.matches(no, false), "{pattern}");
        }
        // A shorter branch that comes first does not hide the longer one.
        assert!(Regexp::parse("a|ab").unwrap().matches("ab", true));
    }

    #[test]
    fn knows_every_category() {
        let samples = [
            ("L", "lmotu", "aʰªǅA"),
            ("M", "cen", "\u{903}\u{20dd}\u{301}"),
            ("N", "dlo", "1Ⅳ½"),
            ("P", "cdefios", "_-)»«!("),
            ("Z", "lps", "\u{2028}\u{2029} "),
            ("S", "ckmo", "€^+©"),
            ("C", "cfno", "\u{7}\u{ad}\u{378}\u{e000}"),
        ];
        for (group, members, texts) in samples {
            for (member, sample) in members.chars().zip(texts.chars()) {
                let text = sample.to_string();
                for name in [group.to_owned(), format!("{group}{member}")] {
                    assert!(Regexp::parse(&format!("\\p{{{name}}}")).unwrap().matches(&text, true), "{name} {text:?}");
                    assert!(!Regexp::parse(&format!("\\P{{{name}}}")).unwrap().matches(&text, true), "{name} {text:?}");
                }
                for (other, _, _) in samples.iter().filter(|(other, _, _)| *other != group) {
                    assert!(
                        !Regexp::parse(&format!("\\p{{{other}}}")).unwrap().matches(&text, true),
                        "{other} {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        let wrong = [
            r"( a) * |* a{2 a{} a{,2} a{3,1} a} a] \ [ [] [^] [a [b-a] [a-c-e] [--a] [a--] [a-\p{L}] [\p{L}-z]",
            r"[[a]] [a&&[b]] [[:alpha:]] [a-[b]] a** a+? a?? a*+ a{2}? a{2}{2} (?:a) (?i)a (?=a) (?<n>a) \d \D",
            r"\w \s \b \A \z \1 \x41 \u0041 \$ \/ \Q [\d] [\b] \p \pL \p{} \p{l} \p{Lx} \p{Luu} \p{Cs} \p{^L}",
            r"\p{Greek} \p{Letter} \p{L",
        ];
        for wrong in wrong.iter().flat_map(|line| line.split(' ')).chain(["a{ 2}"]) {
            assert!(Regexp::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn refuses_what_is_too_large() {
        let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Regexp::parse(&nested(31)).is_some() && Regexp::parse(&nested(32)).is_none());
        assert!(Regexp::parse(&"a".repeat(4_000)).is_some() && Regexp::parse(&"a".repeat(4_001)).is_none());
        let large = [
            "a{4001}",
            "a{99999999999999999999}",
            "(a{1000}){1000}",
            "(a{4000}|b)",
            "a{4000}b",
            "((a?){64}){64}",
            "((){4000}){4000}",
            "(((){0}){4000}){2,4000}",
            "\\p{L}{1000}",
        ];
        for large in large {
            assert!(Regexp::parse(large).is_none(), "{large}");
        }
        for usual in ["a{4000}", "(ab?){0,2000}", ".{1,1000}", "[\\p{L}\\p{N}_-]{1,64}"] {
            assert!(Regexp::parse(usual).is_some(), "{usual}");
        }
    }

    #[test]
    fn time_is_linear() {
        let regexp = Regexp::parse("(a|aa)*(a|aa)*b").unwrap();
        let text = "a".repeat(20_000);
        assert!(!regexp.matches(&text, true) && !regexp.matches(&text, false));
    }

    proptest::proptest! {
        /// Escaped, any text describes itself and, as a class, its characters: none means more to the crate.
        #[test]
        fn every_text_can_be_written(text in "[ -~\n\ré€]{1,20}", other in "[ -~]") {
            let escaped: String = text
                .chars()
                .map(|c| if "()*+-.?[\\]^{|}".contains(c) { format!("\\{c}") } else if c == '$' { "[$]".to_owned() } else { c.to_string() })
                .collect();
            let longer = format!("<{text}>");
            let regexp = Regexp::parse(&escaped).unwrap();
            proptest::prop_assert!(regexp.matches(&text, true) && regexp.matches(&longer, false));
            proptest::prop_assert!(!regexp.matches(&longer, true));
            let class = Regexp::parse(&format!("[{}]", escaped.replace("[$]", "$"))).unwrap();
            proptest::prop_assert!(text.chars().all(|c| class.matches(&c.to_string(), true)));
            proptest::prop_assert_eq!(class.matches(&other, true), text.contains(&other));
        }

        /// What the grammar accepts, the crate compiles.
        #[test]
        fn accepted_is_compiled(pattern in r"(([a^$&~<#\-|.]|\(\)|\[[\-^]?[ -+._-~]{1,3}[&~]{2}-?\]|\\[pP]\{L\}|\\[\-.n])[*+?]?){1,6}") {
            proptest::prop_assert!(super::translate(&pattern).is_none_or(|it| super::compile(&it).is_some()), "{}", pattern);
        }
    }
}
