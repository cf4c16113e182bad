//! What a conversion is worth: all of it that the books need, kept for as long as its states are.

use super::super::codec::{Malformed, Reader, Writer};
use crate::conversion::{Conversion, EventKind, Money};

/// What it is, and its amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Worth {
    pub(in super::super) kind: EventKind,
    pub(in super::super) is_test: bool,
    pub(in super::super) amount: Option<Amount>,
}

/// `value` and `currency`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Amount {
    pub(in super::super) money: Money,
    pub(in super::super) currency: Box<str>,
}

impl Worth {
    pub(super) fn of(conversion: &Conversion) -> Worth {
        let money = conversion.amount();
        let amount =
            money.zip(conversion.currency()).map(|(money, currency)| Amount { money, currency: currency.into() });
        Worth { kind: conversion.kind(), is_test: conversion.is_test(), amount }
    }

    /// Of one that cannot be read any more.
    pub(super) fn unknown() -> Worth {
        Worth { kind: EventKind::Conversion, is_test: false, amount: None }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.u8(match self.kind {
            EventKind::Conversion => 0,
            EventKind::Refund => 1,
            EventKind::Adjustment => 2,
        });
        w.u8(u8::from(self.is_test));
        w.option(self.amount.as_ref(), |w, amount| {
            w.text(&amount.currency);
            w.text(amount.money.text().as_str());
        });
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Worth, Malformed> {
        let kind = match r.u8()? {
            0 => EventKind::Conversion,
            1 => EventKind::Refund,
            2 => EventKind::Adjustment,
            _ => return Err(Malformed("kind of a conversion")),
        };
        let is_test = r.u8()? != 0;
        let amount = r.option(|r| {
            let currency = r.text()?.into();
            let money = Money::parse(r.text()?).map_err(|_no_amount| Malformed("an amount"))?;
            Ok(Amount { money, currency })
        })?;
        Ok(Worth { kind, is_test, amount })
    }
}
