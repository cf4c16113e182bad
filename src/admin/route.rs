//! Which call a path is.

use http::Method;

/// A call of the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// Changes nothing: GET and HEAD.
    Look(Look<'p>),
    /// Changes something: POST.
    Bid(Bid<'p>),
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look<'p> {
    Health,
    Ready,
    Metrics,
    Document,
    Destinations,
    Destination(&'p str),
    DeadLetters,
    DeadLetter { destination: &'p str, id: &'p str },
    Conversion(&'p str),
    Order(&'p str),
    Audit,
    Reconcile,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bid<'p> {
    Pause(&'p str),
    Resume(&'p str),
    Probe(&'p str),
    Replay,
    Discard,
    Forget,
    Reload,
}

impl<'p> Route<'p> {
    /// `None`: there is nothing of this path.
    pub(super) fn of(path: &'p str) -> Option<Route<'p>> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let is_named = |part: &&str| !part.is_empty();
        Some(match parts.as_slice() {
            ["healthz"] => Route::Look(Look::Health),
            ["readyz"] => Route::Look(Look::Ready),
            ["metrics"] => Route::Look(Look::Metrics),
            ["openapi.json"] => Route::Look(Look::Document),
            ["admin", "destinations"] => Route::Look(Look::Destinations),
            ["admin", "dead"] => Route::Look(Look::DeadLetters),
            ["admin", "audit"] => Route::Look(Look::Audit),
            ["admin", "reconcile"] => Route::Look(Look::Reconcile),
            ["admin", "dead", "replay"] => Route::Bid(Bid::Replay),
            ["admin", "dead", "discard"] => Route::Bid(Bid::Discard),
            ["admin", "reload"] => Route::Bid(Bid::Reload),
            ["admin", "forget"] => Route::Bid(Bid::Forget),
            ["admin", "destinations", name] => Route::Look(Look::Destination(Some(*name).filter(is_named)?)),
            ["admin", "conversions", id] => Route::Look(Look::Conversion(Some(*id).filter(is_named)?)),
            ["admin", "orders", order] => Route::Look(Look::Order(Some(*order).filter(is_named)?)),
            ["admin", "dead", destination, id] => Route::Look(Look::DeadLetter {
                destination: Some(*destination).filter(is_named)?,
                id: Some(*id).filter(is_named)?,
            }),
            ["admin", "destinations", name, order] => {
                let name = Some(*name).filter(is_named)?;
                Route::Bid(match *order {
                    "pause" => Bid::Pause(name),
                    "resume" => Bid::Resume(name),
                    "probe" => Bid::Probe(name),
                    _ => return None,
                })
            }
            [..] => return None,
        })
    }

    /// Whether the path has this method; otherwise those that it has.
    pub(super) fn check(self, method: &Method) -> Result<(), &'static str> {
        match (self, method) {
            (Route::Look(_), &Method::GET | &Method::HEAD) | (Route::Bid(_), &Method::POST) => Ok(()),
            (Route::Look(_), _) => Err("GET, HEAD"),
            (Route::Bid(_), _) => Err("POST"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_call_or_none() {
        #[track_caller]
        fn check(path: &str, expected: Option<Route<'_>>) {
            assert_eq!(Route::of(path), expected, "{path}");
        }
        check("/healthz", Some(Route::Look(Look::Health)));
        check("/admin/destinations/dsp", Some(Route::Look(Look::Destination("dsp"))));
        check("/admin/destinations/dsp/pause", Some(Route::Bid(Bid::Pause("dsp"))));
        check("/admin/dead/dsp/1", Some(Route::Look(Look::DeadLetter { destination: "dsp", id: "1" })));
        check("/admin/dead/replay", Some(Route::Bid(Bid::Replay)));
        for nothing in [
            "",
            "/",
            "//healthz",
            "/healthz/",
            "/admin",
            "/admin/destinations/",
            "/admin/destinations//pause",
            "/admin/destinations/dsp/stop",
            "/admin/destinations/dsp/pause/",
            "/admin/dead/",
            "/admin/dead//1",
            "/admin/conversions/",
            "/admin/orders/",
            "/v1/conversions",
        ] {
            check(nothing, None);
        }
    }
}
