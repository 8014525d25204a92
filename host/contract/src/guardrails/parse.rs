//! From the text of a rule to the rule.

use super::{Comparison, Expression, Operation, Relation, Rule, Value};
use crate::actuators::ACTUATORS;

/// Longer than any rule that a person reads.
const LONGEST: usize = 400;
/// Nested deeper than this, it is no rule either.
const DEEPEST: usize = 20;

/// # Errors
/// What is wrong with the text, and what a rule looks like.
pub(super) fn rule(text: &str) -> Result<Rule, String> {
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} characters"));
    }
    let tokens = tokens(text)?;
    let words: Vec<&str> = tokens.iter().map(String::as_str).collect();
    match words[..] {
        ["monotone"] => return Ok(Rule::Monotone),
        ["without", ..] => {
            let name = text.trim_start().trim_start_matches("without").trim();
            let known = ACTUATORS.iter().map(|one| one.name()).filter(|one| *one != "weights");
            return known.clone().find(|known| *known == name).map(Rule::Without).ok_or_else(
                || {
                    let known: Vec<&str> = known.collect();
                    format!("names no actuator behind `without`; there are {}", known.join(", "))
                },
            );
        }
        _ => {}
    }
    let mut parser = Parser { words: &words, at: 0, depth: 0 };
    let holds = parser.comparison()?;
    let condition = if parser.takes("if") { Some(parser.comparison()?) } else { None };
    match parser.words.get(parser.at) {
        None => Ok(Rule::Compare { holds, condition }),
        Some(rest) => Err(format!("has a `{rest}` that can't come there")),
    }
}

/// Words, numbers and marks.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let length = if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            // 1e-3 is one number.
            let number = first.is_ascii_digit() && rest[..end].ends_with(['e', 'E']);
            let signed = rest[end..].strip_prefix(['-', '+']).filter(|_| number);
            signed.map_or(end, |digits| {
                end + 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())
            })
        } else if rest.starts_with(">=") || rest.starts_with("<=") {
            2
        } else if "<>+-*/(),".contains(first) {
            1
        } else {
            return Err(format!("has {first:?} in it, which no rule has"));
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn expects(&mut self, word: &str) -> Result<(), String> {
        if self.takes(word) { Ok(()) } else { Err(format!("lacks a `{word}`{}", self.place())) }
    }

    fn place(&self) -> String {
        match self.words.get(self.at) {
            Some(word) => format!(" before `{word}`"),
            None => " at its end".to_owned(),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, String> {
        let left = self.sum()?;
        let relations = [
            (">=", Relation::AtLeast),
            ("<=", Relation::AtMost),
            (">", Relation::Above),
            ("<", Relation::Below),
        ];
        let found = relations.iter().find(|(mark, _)| self.takes(mark));
        let Some((_, relation)) = found else {
            let example = "`kl_weight >= 0.5 * risk`";
            return Err(format!("lacks one of >=, <=, > and <{}, as in {example}", self.place()));
        };
        Ok(Comparison { left, relation: *relation, right: self.sum()? })
    }

    fn sum(&mut self) -> Result<Expression, String> {
        self.chain(&[("+", Operation::Add), ("-", Operation::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expression, String> {
        self.chain(&[("*", Operation::Multiply), ("/", Operation::Divide)], Self::factor)
    }

    /// Operands with these operations between them, from the left.
    fn chain(
        &mut self,
        operations: &[(&str, Operation)],
        operand: fn(&mut Self) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        let mut left = operand(self)?;
        while let Some((_, operation)) = operations.iter().find(|(mark, _)| self.takes(mark)) {
            left = both(*operation, left, operand(self)?);
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("is nested deeper than {DEEPEST} times"));
        }
        let factor = self.innermost();
        self.depth -= 1;
        factor
    }

    fn innermost(&mut self) -> Result<Expression, String> {
        if self.takes("-") {
            return Ok(Expression::Negative(Box::new(self.factor()?)));
        }
        if self.takes("(") {
            let inner = self.sum()?;
            self.expects(")")?;
            return Ok(inner);
        }
        for (name, operation) in [("min", Operation::Least), ("max", Operation::Most)] {
            if self.takes(name) {
                self.expects("(")?;
                let first = self.sum()?;
                self.expects(",")?;
                let second = self.sum()?;
                self.expects(")")?;
                return Ok(both(operation, first, second));
            }
        }
        let names = || Value::NAMES.map(|(name, _)| name).join(", ");
        let Some(word) = self.words.get(self.at) else {
            return Err(format!("ends where a number or one of {} must come", names()));
        };
        self.at += 1;
        if let Some((_, value)) = Value::NAMES.iter().find(|(name, _)| name == word) {
            return Ok(Expression::Value(*value));
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() && word.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Expression::Number(number))
            }
            _ => Err(format!("has `{word}`, which is no number and none of {}", names())),
        }
    }
}

fn both(operation: Operation, a: Expression, b: Expression) -> Expression {
    Expression::Both(operation, Box::new(a), Box::new(b))
}
