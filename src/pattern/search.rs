//! The search for a choice of leaves that agree on the elements of arrays (event-patterns.md rules 24–30, 33).
//!
//! Conditions that share no array and no path are solved apart. Within a part it is depth first and without recursion:
//! a frame per decision, undone in reverse.

use super::leaves::{Binding, FoundLeaf};
use super::verdict::Evaluation;
use super::{EvaluationLimit, Field, Goal, Group};
use crate::model::resources::Dialect;
use std::borrow::Borrow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

/// A search over one alternative.
pub(super) struct Search<'s, 'e> {
    evaluation: &'s Evaluation<'e>,
    /// Attempts that are left for this event.
    attempts: &'s mut u32,
    /// By field: the leaves that its matchers accept.
    accepted: Vec<OnceCell<Vec<&'s FoundLeaf<'e>>>>,
    /// The elements chosen so far.
    bindings: Vec<Binding>,
    /// What repeated paths were given: a leaf, or absence.
    assigned: Vec<(usize, Option<&'s FoundLeaf<'e>>)>,
    /// Paths given absence that is judged last.
    absent: Vec<usize>,
    /// Where to go on after the goals of a branch.
    later: Vec<Cursor<'e>>,
}

/// Goals still to be met.
#[derive(Clone, Copy)]
struct Cursor<'e> {
    goals: &'e [Goal],
    /// Index into `later`.
    then: Option<usize>,
}

/// A decision, with what is left to try.
struct Frame<'s, 'e> {
    /// The goals after this one.
    rest: Cursor<'e>,
    choices: Choices<'s, 'e>,
    /// Lengths to go back to: bindings, assigned, absent, later.
    marks: [usize; 4],
}

enum Choices<'s, 'e> {
    Field { path: usize, leaves: std::vec::IntoIter<&'s FoundLeaf<'e>>, absent: bool },
    Or(std::vec::IntoIter<&'e Group>),
}

enum Choice<'s, 'e> {
    Leaf(usize, &'s FoundLeaf<'e>),
    Absent(usize),
    Branch(&'e Group),
}

/// What two goals can have in common.
#[derive(PartialEq, Eq, Hash)]
enum Shared {
    /// An outermost array that leaves are bound to.
    Array(u32),
    /// A path that is constrained more than once.
    Path(usize),
}

impl<'s, 'e> Search<'s, 'e> {
    pub(super) fn new(evaluation: &'s Evaluation<'e>, attempts: &'s mut u32) -> Self {
        Self {
            evaluation,
            attempts,
            accepted: (0..evaluation.pattern.fields).map(|_| OnceCell::new()).collect(),
            bindings: Vec::new(),
            assigned: Vec::new(),
            absent: Vec::new(),
            later: Vec::new(),
        }
    }

    /// Whether there is a choice for all goals of a group that is viable.
    pub(super) fn solve(mut self, group: &'e Group) -> Result<bool, EvaluationLimit> {
        let mut limit = None;
        for part in self.parts(group) {
            match self.solve_part(&part) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(reached) => limit = Some(reached),
            }
        }
        limit.map_or(Ok(true), Err)
    }

    /// The goals that share something, each part by itself. A goal that shares nothing is met because it is viable.
    fn parts(&self, group: &'e Group) -> Vec<Vec<&'e Goal>> {
        let mut part_of: Vec<usize> = (0..group.goals.len()).collect();
        let mut owner: HashMap<Shared, usize> = HashMap::new();
        let mut sharing = vec![false; group.goals.len()];
        for (number, goal) in group.goals.iter().enumerate() {
            let mut shared = Vec::new();
            self.shared(goal, &mut shared);
            if let Some(sharing) = sharing.get_mut(number) {
                *sharing = !shared.is_empty();
            }
            for thing in shared {
                let other = *owner.entry(thing).or_insert(number);
                let (a, b) = (root(&part_of, number), root(&part_of, other));
                if let Some(parent) = part_of.get_mut(a.max(b)) {
                    *parent = a.min(b);
                }
            }
        }
        let mut parts: BTreeMap<usize, Vec<&'e Goal>> = BTreeMap::new();
        for (number, goal) in group.goals.iter().enumerate() {
            if sharing.get(number) == Some(&true) {
                parts.entry(root(&part_of, number)).or_default().push(goal);
            }
        }
        parts.into_values().collect()
    }

    fn shared(&self, goal: &Goal, into: &mut Vec<Shared>) {
        match goal {
            Goal::Field(field) => {
                let outermost = self.evaluation.leaves(field.path).iter().filter_map(|leaf| leaf.bindings.first());
                let mut arrays: Vec<u32> = outermost.map(|binding| binding.array).collect();
                arrays.dedup();
                into.extend(arrays.into_iter().map(Shared::Array));
                if self.is_repeated(field) {
                    into.push(Shared::Path(field.path));
                }
            }
            Goal::Or(branches) => {
                branches.iter().flat_map(|branch| &branch.goals).for_each(|goal| self.shared(goal, into));
            }
        }
    }

    fn is_repeated(&self, field: &Field) -> bool {
        self.evaluation.pattern.paths.get(field.path).is_some_and(|path| path.repeated)
    }

    fn solve_part(&mut self, goals: &[&'e Goal]) -> Result<bool, EvaluationLimit> {
        self.undo([0; 4]);
        let mut cursor = Cursor { goals: &[], then: None };
        for goal in goals.iter().rev() {
            self.later.push(Cursor { goals: std::slice::from_ref(goal), then: cursor.then });
            cursor.then = Some(self.later.len() - 1);
        }
        let mut frames: Vec<Frame<'s, 'e>> = Vec::new();
        loop {
            match self.next_goal(&mut cursor) {
                None if self.absences_hold() => return Ok(true),
                None => {}
                Some(goal) => match self.given(goal) {
                    Some((field, given)) => {
                        self.attempt()?;
                        if given.map_or(field.leaf.absent, |leaf| field.leaf.accepts(&leaf.value, &leaf.forms)) {
                            continue;
                        }
                    }
                    None => frames.push(self.frame(goal, cursor)?),
                },
            }
            // Take the next choice of the last decision that has one.
            loop {
                let Some(frame) = frames.last_mut() else { return Ok(false) };
                self.undo(frame.marks);
                let rest = frame.rest;
                match frame.choices.next() {
                    Some(choice) => {
                        cursor = self.choose(choice, rest)?;
                        break;
                    }
                    None => frames.pop(),
                };
            }
        }
    }

    fn next_goal(&self, cursor: &mut Cursor<'e>) -> Option<&'e Goal> {
        loop {
            if let Some((first, rest)) = cursor.goals.split_first() {
                cursor.goals = rest;
                return Some(first);
            }
            *cursor = *self.later.get(cursor.then?)?;
        }
    }

    /// What the path of a field has been given already (rule 30).
    fn given(&self, goal: &'e Goal) -> Option<(&'e Field, Option<&'s FoundLeaf<'e>>)> {
        match goal {
            Goal::Field(field) => {
                let given = self.assigned.iter().find(|(path, _)| *path == field.path);
                given.map(|(_, leaf)| (field, *leaf))
            }
            Goal::Or(_) => None,
        }
    }

    fn frame(&mut self, goal: &'e Goal, rest: Cursor<'e>) -> Result<Frame<'s, 'e>, EvaluationLimit> {
        let choices = match goal {
            Goal::Field(field) => {
                let leaves = self.candidates(field);
                let absent = field.leaf.absent && self.may_be_absent(field.path);
                if leaves.is_empty() && !absent {
                    // Nothing to choose from costs as much as one choice, so that every goal counts.
                    self.attempt()?;
                }
                Choices::Field { path: field.path, leaves: leaves.into_iter(), absent }
            }
            Goal::Or(branches) => {
                let viable: Vec<&'e Group> = branches.iter().filter(|branch| self.evaluation.viable(branch)).collect();
                Choices::Or(viable.into_iter())
            }
        };
        let marks = [self.bindings.len(), self.assigned.len(), self.absent.len(), self.later.len()];
        Ok(Frame { rest, choices, marks })
    }

    /// The leaves that a field may be given now.
    fn candidates(&self, field: &Field) -> Vec<&'s FoundLeaf<'e>> {
        let repeated = self.is_repeated(field);
        let accepted = self.accepted.get(field.number).map(|cell| {
            cell.get_or_init(|| {
                let leaves = self.evaluation.leaves(field.path).iter().copied();
                let mut accepted: Vec<_> = leaves.filter(|leaf| field.leaf.accepts(&leaf.value, &leaf.forms)).collect();
                if !repeated {
                    // Bound alike, they are alike for every other goal.
                    accepted.dedup_by(|a, b| a.bindings == b.bindings);
                }
                accepted
            })
        });
        let mut candidates = Vec::new();
        compatible(accepted.map_or(&[], Vec::as_slice), 0, &self.bindings, &mut |leaf| {
            candidates.push(*leaf);
            true
        });
        candidates
    }

    /// `tidegate`: absence is judged last, but a leaf that nothing rules out stays. `aws`: it is judged now.
    fn may_be_absent(&self, path: usize) -> bool {
        match self.evaluation.pattern.options.dialect {
            Dialect::Tidegate => self.evaluation.leaves(path).iter().all(|leaf| !leaf.bindings.is_empty()),
            Dialect::Aws => self.holds_absent(path),
        }
    }

    /// Whether no leaf at a path is compatible with all that has been chosen.
    fn holds_absent(&self, path: usize) -> bool {
        compatible(self.evaluation.leaves(path), 0, &self.bindings, &mut |_| false)
    }

    fn absences_hold(&self) -> bool {
        self.absent.iter().all(|path| self.holds_absent(*path))
    }

    fn choose(&mut self, choice: Choice<'s, 'e>, rest: Cursor<'e>) -> Result<Cursor<'e>, EvaluationLimit> {
        match choice {
            Choice::Leaf(path, leaf) => {
                self.attempt()?;
                for binding in &leaf.bindings {
                    if element_of(binding.array, &self.bindings).is_none() {
                        self.bindings.push(*binding);
                    }
                }
                self.assign(path, Some(leaf));
                Ok(rest)
            }
            Choice::Absent(path) => {
                self.attempt()?;
                if self.evaluation.pattern.options.dialect == Dialect::Tidegate {
                    self.absent.push(path);
                }
                self.assign(path, None);
                Ok(rest)
            }
            Choice::Branch(branch) => {
                self.later.push(rest);
                Ok(Cursor { goals: &branch.goals, then: Some(self.later.len() - 1) })
            }
        }
    }

    fn assign(&mut self, path: usize, leaf: Option<&'s FoundLeaf<'e>>) {
        if self.evaluation.pattern.paths.get(path).is_some_and(|path| path.repeated) {
            self.assigned.push((path, leaf));
        }
    }

    fn attempt(&mut self) -> Result<(), EvaluationLimit> {
        match self.attempts.checked_sub(1) {
            Some(left) => {
                *self.attempts = left;
                Ok(())
            }
            None => Err(EvaluationLimit { attempts: self.evaluation.pattern.options.limits.attempts }),
        }
    }

    fn undo(&mut self, [bindings, assigned, absent, later]: [usize; 4]) {
        self.bindings.truncate(bindings);
        self.assigned.truncate(assigned);
        self.absent.truncate(absent);
        self.later.truncate(later);
    }
}

impl<'s, 'e> Choices<'s, 'e> {
    fn next(&mut self) -> Option<Choice<'s, 'e>> {
        match self {
            Self::Field { path, leaves, absent } => match leaves.next() {
                Some(leaf) => Some(Choice::Leaf(*path, leaf)),
                None if *absent => {
                    *absent = false;
                    Some(Choice::Absent(*path))
                }
                None => None,
            },
            Self::Or(branches) => branches.next().map(Choice::Branch),
        }
    }
}

/// The lowest goal of the part that `number` belongs to.
fn root(part_of: &[usize], mut number: usize) -> usize {
    while let Some(&parent) = part_of.get(number).filter(|parent| **parent != number) {
        number = parent;
    }
    number
}

/// The element chosen of an array.
fn element_of(array: u32, bindings: &[Binding]) -> Option<u32> {
    bindings.iter().rev().find(|binding| binding.array == array).map(|binding| binding.element)
}

/// Calls `each` with every leaf that agrees with `bindings`, until it returns false; gives whether it never did.
/// The leaves of one array stand together and in order, so whole elements are skipped at once. The leaves share their
/// first `depth` bindings.
fn compatible<'l, L: Borrow<FoundLeaf<'l>>>(
    leaves: &[L],
    depth: usize,
    bindings: &[Binding],
    each: &mut impl FnMut(&L) -> bool,
) -> bool {
    let mut rest = leaves;
    while let Some(first) = rest.first() {
        let Some(here) = binding(first, depth) else {
            if !each(first) {
                return false;
            }
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let same_array = |leaf: &L| binding(leaf, depth).is_some_and(|other| other.array == here.array);
        let (run, after) = rest.split_at(rest.partition_point(same_array));
        rest = after;
        let all = match element_of(here.array, bindings) {
            // Nothing inside an array is chosen before an element of it.
            None => run.iter().all(&mut *each),
            Some(element) => {
                let before = |leaf: &L| binding(leaf, depth).is_some_and(|other| other.element < element);
                let within = |leaf: &L| binding(leaf, depth).is_some_and(|other| other.element == element);
                let run = run.get(run.partition_point(before)..).unwrap_or_default();
                let run = run.get(..run.partition_point(within)).unwrap_or_default();
                compatible(run, depth + 1, bindings, each)
            }
        };
        if !all {
            return false;
        }
    }
    true
}

fn binding<'l, L: Borrow<FoundLeaf<'l>>>(leaf: &L, depth: usize) -> Option<Binding> {
    leaf.borrow().bindings.get(depth).copied()
}
