//! Regular expressions of RFC 9485 for `match` and `search`: time linear in the text, whatever the pattern.
//!
//! Categories (`\p{…}`) are not supported: they would bring Unicode's tables along for one function.

/// Instructions at most, so that `(a{1000}){1000}` does not fill the memory.
const MAX_SIZE: usize = 10_000;
const MAX_NESTED: usize = 32;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Regexp {
    code: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Takes one character.
    Take(Class),
    /// Goes on at both places.
    Fork(usize, usize),
    Jump(usize),
    Done,
}

#[derive(Debug, Clone)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

enum Tree {
    Class(Class),
    Sequence(Vec<Tree>),
    Choice(Vec<Tree>),
    Repeat(Box<Tree>, usize, Option<usize>),
}

impl Class {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != self.negated
    }
}

impl Regexp {
    /// Compiles a pattern; `None` if it is not well formed, uses `\p`, or is too large.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let mut parser = Parser { rest: pattern.chars().peekable(), nested: 0 };
        let tree = parser.choice()?;
        if parser.rest.next().is_some() {
            return None;
        }
        let mut this = Self { code: Vec::new() };
        this.emit(&tree)?;
        this.push(Step::Done)?;
        Some(this)
    }

    fn push(&mut self, step: Step) -> Option<usize> {
        self.code.push(step);
        (self.code.len() <= MAX_SIZE).then(|| self.code.len() - 1)
    }

    fn set(&mut self, at: usize, step: Step) {
        if let Some(place) = self.code.get_mut(at) {
            *place = step;
        }
    }

    fn emit(&mut self, tree: &Tree) -> Option<()> {
        match tree {
            Tree::Class(class) => self.push(Step::Take(class.clone())).map(|_| ()),
            Tree::Sequence(parts) => parts.iter().try_for_each(|part| self.emit(part)),
            Tree::Choice(parts) => {
                let (last, others) = parts.split_last()?;
                let mut ends = Vec::new();
                for part in others {
                    let fork = self.push(Step::Done)?;
                    self.emit(part)?;
                    ends.push(self.push(Step::Done)?);
                    self.set(fork, Step::Fork(fork + 1, self.code.len()));
                }
                self.emit(last)?;
                let end = self.code.len();
                ends.into_iter().for_each(|at| self.set(at, Step::Jump(end)));
                Some(())
            }
            Tree::Repeat(inner, least, most) => {
                for _ in 0..*least {
                    self.emit(inner)?;
                }
                let optional = match most {
                    Some(most) => most.checked_sub(*least)?,
                    None => 1,
                };
                let mut forks = Vec::new();
                for _ in 0..optional {
                    let fork = self.push(Step::Done)?;
                    forks.push(fork);
                    self.emit(inner)?;
                    if most.is_none() {
                        self.push(Step::Jump(fork))?;
                    }
                }
                let end = self.code.len();
                forks.into_iter().for_each(|fork| self.set(fork, Step::Fork(fork + 1, end)));
                Some(())
            }
        }
    }

    /// Whether it describes the whole text, or else a part of it.
    pub(super) fn matches(&self, text: &str, whole: bool) -> bool {
        let mut threads = Threads::new(self.code.len());
        let mut next = Threads::new(self.code.len());
        threads.add(&self.code, 0);
        for c in text.chars() {
            if !whole && threads.done {
                return true;
            }
            next.clear();
            for at in &threads.waiting {
                if let Some(Step::Take(class)) = self.code.get(*at)
                    && class.has(c)
                {
                    next.add(&self.code, at + 1);
                }
            }
            if !whole {
                next.add(&self.code, 0);
            }
            std::mem::swap(&mut threads, &mut next);
            if threads.waiting.is_empty() && !threads.done {
                return false;
            }
        }
        threads.done
    }
}

/// The places where the expression may go on; each is visited once per character.
struct Threads {
    seen: Vec<bool>,
    waiting: Vec<usize>,
    done: bool,
}

impl Threads {
    fn new(size: usize) -> Self {
        Self { seen: vec![false; size], waiting: Vec::new(), done: false }
    }

    fn clear(&mut self) {
        self.seen.fill(false);
        self.waiting.clear();
        self.done = false;
    }

    fn add(&mut self, code: &[Step], from: usize) {
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            match self.seen.get_mut(at) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match code.get(at) {
                Some(Step::Take(_)) => self.waiting.push(at),
                Some(Step::Fork(a, b)) => open.extend([*b, *a]),
                Some(Step::Jump(to)) => open.push(*to),
                Some(Step::Done) => self.done = true,
                None => {}
            }
        }
    }
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    nested: usize,
}

impl Parser<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn choice(&mut self) -> Option<Tree> {
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return None;
        }
        let mut parts = vec![self.sequence()?];
        while self.eat('|') {
            parts.push(self.sequence()?);
        }
        self.nested -= 1;
        Some(Tree::Choice(parts))
    }

    fn sequence(&mut self) -> Option<Tree> {
        let mut parts = Vec::new();
        while let Some(c) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let atom = match c {
                '(' => {
                    let inner = self.choice()?;
                    if !self.eat(')') {
                        return None;
                    }
                    inner
                }
                '[' => Tree::Class(self.class()?),
                '.' => Tree::Class(Class { negated: true, ranges: vec![('\n', '\n'), ('\r', '\r')] }),
                '\\' => Tree::Class(one(self.escape()?)),
                '*' | '+' | '?' | '{' | '}' | ']' => return None,
                c => Tree::Class(one(c)),
            };
            parts.push(self.quantified(atom)?);
        }
        Some(Tree::Sequence(parts))
    }

    fn quantified(&mut self, atom: Tree) -> Option<Tree> {
        let (least, most) = match self.rest.next_if(|c| matches!(c, '*' | '+' | '?' | '{')) {
            None => return Some(atom),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some(_) => {
                let least = self.number()?;
                let most = if self.eat(',') {
                    if self.rest.peek() == Some(&'}') { None } else { Some(self.number()?) }
                } else {
                    Some(least)
                };
                if !self.eat('}') {
                    return None;
                }
                (least, most)
            }
        };
        Some(Tree::Repeat(Box::new(atom), least, most))
    }

    fn number(&mut self) -> Option<usize> {
        let mut text = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            text.push(digit);
        }
        text.parse().ok().filter(|n| *n <= MAX_SIZE)
    }

    fn escape(&mut self) -> Option<char> {
        match self.rest.next()? {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            c @ ('(' | ')' | '*' | '+' | '-' | '.' | '?' | '[' | '\\' | ']' | '^' | '{' | '|' | '}' | '$') => Some(c),
            _ => None,
        }
    }

    fn class(&mut self) -> Option<Class> {
        let negated = self.eat('^');
        let mut ranges = Vec::new();
        loop {
            let first = match self.rest.next()? {
                ']' if !ranges.is_empty() => return Some(Class { negated, ranges }),
                '\\' => self.escape()?,
                '[' | ']' => return None,
                c => c,
            };
            let last = if first != '-' && self.eat('-') {
                match self.rest.next()? {
                    // A hyphen at the end stands for itself.
                    ']' => {
                        ranges.extend([(first, first), ('-', '-')]);
                        return Some(Class { negated, ranges });
                    }
                    '\\' => self.escape()?,
                    '[' | '-' => return None,
                    c => c,
                }
            } else {
                first
            };
            if last < first {
                return None;
            }
            ranges.push((first, last));
        }
    }
}

fn one(c: char) -> Class {
    Class { negated: false, ranges: vec![(c, c)] }
}

#[cfg(test)]
mod tests {
    use super::Regexp;

    #[test]
    fn describes_whole_texts_and_parts() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            ("a.c", &["abc", "aéc"], &["ac", "abcc", "a\nc"]),
            ("(ab|cd)+e?", &["ab", "abcde"], &["", "e"]),
            ("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]),
            ("a{2}", &["aa"], &["a", "aaa"]),
            ("a{1,}", &["a", "aaaa"], &[""]),
            ("[^0-9x-]*", &["", "abc"], &["a1", "x", "-"]),
            ("[a-c\\]]", &["b", "]"], &["d"]),
            ("", &[""], &["a"]),
            ("(a*)*b", &["b", "aab"], &["a"]),
            ("1\\.0|2", &["1.0", "2"], &["1x0", "1.02"]),
        ];
        for (pattern, yes, no) in cases {
            let regexp = Regexp::parse(pattern).unwrap();
            assert!(yes.iter().all(|text| regexp.matches(text, true)), "{pattern}");
            assert!(!no.iter().any(|text| regexp.matches(text, true)), "{pattern}");
        }
        let regexp = Regexp::parse("b+c").unwrap();
        assert!(regexp.matches("aabbcd", false) && !regexp.matches("abab", false));
        for wrong in ["(", "a)", "*", "[", "[]", "[b-a]", "a{2", "a{3,1}", "\\p{L}", "\\d", "a{9999}{9999}"] {
            assert!(Regexp::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn time_is_linear() {
        let regexp = Regexp::parse("(a|aa)*(a|aa)*b").unwrap();
        assert!(!regexp.matches(&"a".repeat(20_000), true));
    }
}
