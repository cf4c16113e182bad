//! Filters: their names, inputs and arguments.

use super::{Checked, Checker, content};
use crate::conversion::nearest;
use crate::mapping::filters::{Arg, Args, Argument, Filter, did_you_mean};
use crate::mapping::lexer::{At, Scalar};
use crate::mapping::ops::{Op, Word};
use crate::mapping::program::{Call, Node};
use crate::mapping::syntax::{self, Ast, Key, Kind, Literal};
use crate::mapping::types::{Base, Gives, Ty};
use crate::mapping::value::Val;

const ARGUMENTS: &str = "an argument is a literal, vars.x or secrets.x: it is known before a conversion is";

/// A checked argument.
struct Given {
    arg: Arg,
    ty: Option<Ty>,
    secret: bool,
    /// Given, required, and without a value: so the filter has none either.
    lacking: bool,
}

impl Given {
    fn of(arg: Arg) -> Given {
        Given { arg, ty: None, secret: false, lacking: false }
    }
}

impl Checker<'_, '_, '_> {
    pub(super) fn call(&mut self, input: Checked, call: &syntax::Call) -> Checked {
        let at = input.at.to(call.at);
        let Some(filter) = Filter::named(&call.name) else {
            let help = nearest(&call.name, Filter::names().map(str::to_owned)).map(did_you_mean);
            let help = help.unwrap_or_else(|| format!("there are {}", Filter::names().collect::<Vec<_>>().join(", ")));
            self.faults.report_with_help(call.at, format!("there is no filter `{}`", call.name), help);
            return Checked::faulty(at);
        };
        let fits = self.check_input(&input, filter, call);
        let Some(given) = self.arguments(filter, call) else { return Checked::faulty(at) };
        self.check_words(&input, &given, call);
        let lacking = given.iter().any(|given| given.lacking);
        let secret = input.secret || given.iter().any(|given| given.secret);
        let ty = if fits { input.ty.and_then(|ty| self.output(ty, filter, &given, call)) } else { None };
        let args = Args(given.into_iter().map(|given| given.arg).collect());
        if lacking {
            // `x | default(vars.unset)` is x; of any other filter nothing is left.
            let kept = if filter.gives == Gives::Either { input.node } else { Node::Absent };
            return Checked { node: kept, ty, at, secret, literal: false, ..input };
        }
        let op = match filter.make(&args) {
            Ok(op) => op,
            Err(mistake) => {
                let at = call.args.get(mistake.arg).map_or(call.at, |arg| arg.at);
                match mistake.help {
                    Some(help) => self.faults.report_with_help(at, mistake.message, help),
                    None => self.faults.report(at, mistake.message),
                }
                return Checked::faulty(at);
            }
        };
        if matches!(&op, Op::Strftime { civil: false, .. }) && input.ty.is_some_and(|ty| ty.base == Base::Date) {
            self.faults.report(call.at, "a date has no time of day: this format cannot write it");
            return Checked::faulty(at);
        }
        if matches!(op, Op::Int) && content::is_fractional_amount(&input.node) {
            let message = "`int` takes what has no decimals, and an amount may have some";
            let help =
                "`| minor_units` counts the currency's smallest unit, `| micros` millionths; `| decimal(0)` rounds";
            self.faults.report_with_help(call.at, message, help);
            return Checked::faulty(at);
        }
        let whole_lists = filter.takes.whole_lists() && filter.gives != Gives::Either;
        let of_list = input.ty.is_some_and(|ty| ty.list);
        let call = Call { op, whole_lists, of_list, secret };
        let node = input.node.piped(call);
        let mut whole = Checked { node, ty, at, words: None, secret, literal: false, constant: input.constant };
        self.fold(&mut whole);
        whole
    }

    fn check_input(&mut self, input: &Checked, filter: &Filter, call: &syntax::Call) -> bool {
        let Some(ty) = input.ty else { return false };
        let entry = if filter.takes.whole_lists() { ty } else { Ty::of(ty.base) };
        if filter.takes.accepts(entry) {
            return true;
        }
        let message = format!("`{}` takes {}, and this is {ty}", filter.name, filter.takes);
        match filter.takes.remedy(ty) {
            Some(help) => self.faults.report_with_help(call.at, message, help),
            None => self.faults.report(call.at, message),
        }
        false
    }

    /// One per parameter; none if any is at fault.
    fn arguments(&mut self, filter: &Filter, call: &syntax::Call) -> Option<Vec<Given>> {
        let required = filter.params.iter().filter(|param| !param.optional).count();
        if call.args.len() < required || call.args.len() > filter.params.len() {
            let message = match filter.params.len() {
                0 => format!("`{}` has no arguments", filter.name),
                _ => format!("the arguments are `{}`", filter.call()),
            };
            self.faults.report(call.at, message);
            return None;
        }
        let mut given = Vec::with_capacity(filter.params.len());
        let mut right = true;
        for (i, param) in filter.params.iter().enumerate() {
            let Some(ast) = call.args.get(i) else {
                given.push(Given::of(Arg::Unset));
                continue;
            };
            match self.argument(ast, param.takes) {
                Some(mut arg) => {
                    arg.lacking &= !param.optional;
                    given.push(arg);
                }
                None => right = false,
            }
        }
        right.then_some(given)
    }

    fn argument(&mut self, ast: &Ast, takes: Argument) -> Option<Given> {
        if let (Kind::Literal(Literal::Map(members)), Argument::Map) = (&ast.kind, takes) {
            return self.map_argument(members, ast);
        }
        // The empty text is no value, but `replace(' ', '')` and `join('')` mean something.
        if matches!(&ast.kind, Kind::Literal(Literal::Scalar(Scalar::Text(text))) if text.is_empty()) {
            return self.fitted(Val::Text("".into()), Ty::of(Base::Text), ast, takes);
        }
        if !matches!(ast.kind, Kind::Literal(_) | Kind::Path(_) | Kind::Unreadable) {
            self.faults.report(ast.at, ARGUMENTS);
            return None;
        }
        let checked = self.value(ast);
        let ty = checked.ty?;
        if !checked.constant {
            self.faults.report(ast.at, ARGUMENTS);
            return None;
        }
        if let Node::Const(value) = checked.node {
            return self.fitted(value, ty, ast, takes);
        }
        let secret = if let Node::Secret(secret) = checked.node { Some(secret) } else { None };
        let lacking = secret.is_none();
        let arg = secret.map_or(Arg::Unset, |secret| Arg::Word(Word::Secret(secret)));
        let fits = self.suits(ty, checked.secret, ast, takes);
        fits.then_some(Given { arg, ty: Some(ty), secret: checked.secret, lacking })
    }

    /// Whether an argument of this type may stand there; reports if not.
    fn suits(&mut self, ty: Ty, secret: bool, ast: &Ast, takes: Argument) -> bool {
        let right = match takes {
            Argument::Secret => secret,
            Argument::Text => ty == Ty::of(Base::Text),
            Argument::Plain => ty == Ty::of(Base::Text) && !secret,
            Argument::Count(_) => ty == Ty::of(Base::Int),
            Argument::Number => !ty.list && ty.is_number(),
            Argument::Scalar => !ty.list && !ty.is_json() && !secret,
            Argument::Words => ty == Ty::list(Base::Text),
            Argument::Map => false,
        };
        if !right {
            self.faults.report(ast.at, format!("this argument is {}", takes.wanted()));
        }
        right
    }

    fn fitted(&mut self, value: Val<'static>, ty: Ty, ast: &Ast, takes: Argument) -> Option<Given> {
        if !self.suits(ty, false, ast, takes) {
            return None;
        }
        let arg = match (takes, value) {
            (Argument::Count(max), Val::Int(count)) if !(0..=i64::from(max)).contains(&count) => {
                self.faults.report(ast.at, format!("this argument is {}", takes.wanted()));
                return None;
            }
            (Argument::Text | Argument::Plain, Val::Text(text)) => Arg::Word(Word::Plain(text.into())),
            (_, value) => Arg::Value(value),
        };
        Some(Given { ty: Some(ty), ..Given::of(arg) })
    }

    fn map_argument(&mut self, members: &[(Key, Scalar)], ast: &Ast) -> Option<Given> {
        let mut whole: Option<Ty> = None;
        let mut map = Vec::with_capacity(members.len());
        for (key, literal) in members {
            let (value, ty) = self.scalar(literal, key.at)?;
            if value == Val::Text("".into()) {
                self.faults.report(key.at, "an empty text is no value: leave the key out");
                return None;
            }
            match whole.map_or(Some(ty), |whole| whole.or(ty)) {
                Some(ty) => whole = Some(ty),
                None => {
                    self.faults.report(key.at, "the values of a map are all texts, all numbers, or all true or false");
                    return None;
                }
            }
            map.push((key.name.as_str().into(), value));
        }
        if map.is_empty() {
            self.faults.report(ast.at, "a map has at least one key");
            return None;
        }
        Some(Given { ty: whole, ..Given::of(Arg::Map(map)) })
    }

    /// Of a field that can only be one of some words, or has a form, a map has no other keys.
    fn check_words(&mut self, input: &Checked, given: &[Given], call: &syntax::Call) {
        let Some(Given { arg: Arg::Map(_), .. }) = given.first() else { return };
        let Some(Kind::Literal(Literal::Map(members))) = call.args.first().map(|ast| &ast.kind) else { return };
        for (key, _) in members {
            match input.words {
                Some(words) => self.check_word(&key.name, key.at, words),
                None => self.check_form(&input.node, &key.name, key.at),
            }
        }
    }

    /// Whether `name` is one of the words that a field can be.
    pub(super) fn check_word(&mut self, name: &str, at: At, words: &[&'static str]) {
        if words.contains(&name) {
            return;
        }
        let help = nearest(name, words.iter().map(|&word| word.to_owned())).map(did_you_mean);
        // What happened is often taken for what the conversion is.
        let is_kind = words.contains(&"refund");
        let help = help.or_else(|| is_kind.then(|| format!("what happened is `event_type`: `event_type == '{name}'`")));
        let message = format!("this is one of {}, never `{name}`", words.join(", "));
        match help {
            Some(help) => self.faults.report_with_help(at, message, help),
            None => self.faults.report(at, message),
        }
    }

    fn output(&mut self, input: Ty, filter: &Filter, given: &[Given], call: &syntax::Call) -> Option<Ty> {
        let first = given.first().and_then(|given| given.ty);
        let base = match filter.gives {
            Gives::Text => Base::Text,
            Gives::SameText if input.base == Base::Digest => Base::Digest,
            Gives::SameText => Base::Text,
            Gives::Digest => Base::Digest,
            Gives::Int => Base::Int,
            Gives::Number => Base::Number,
            Gives::SameNumber if input.base == Base::Money => Base::Money,
            Gives::SameNumber => Base::Number,
            Gives::Texts if input.list => return self.nested_list(call),
            Gives::Texts => return Some(Ty::list(Base::Text)),
            Gives::Part => input.base,
            Gives::Json => Base::Json,
            Gives::Entry => first?.base,
            Gives::Argument => {
                let second = given.get(1).and_then(|given| given.ty)?;
                match first?.or(second) {
                    Some(ty) => ty.base,
                    None => return self.unlike(call),
                }
            }
            Gives::Either => match Ty::of(input.base).or(first?) {
                Some(ty) => ty.base,
                None => return self.unlike(call),
            },
        };
        let list = input.list && !(filter.takes.whole_lists() && filter.gives != Gives::Either);
        Some(Ty { base, list })
    }

    fn nested_list(&mut self, call: &syntax::Call) -> Option<Ty> {
        let message = format!("`{}` makes a list, and its input is a list already", call.name);
        self.faults.report_with_help(
            call.at,
            message,
            "`| nth(0)` before it takes one entry, `| join(',')` makes one text",
        );
        None
    }

    fn unlike(&mut self, call: &syntax::Call) -> Option<Ty> {
        let message = format!("`{}` gives one or the other, and they are not of one kind", call.name);
        self.faults.report_with_help(call.at, message, "both are texts, both numbers, or both true or false");
        None
    }
}
