//! How connections end: whether the reason is one, and whether what was promised was kept until then.

use std::{rc::Rc, time::Instant};

use super::{
    actor::Actor,
    model::{End, Life, Model, Record},
    parting,
    plan::Plan,
    preface::Says,
    script::Ending,
    socket::Socket,
    turning::Securing,
};
use crate::{CloseReason, Closed, ConnId, Policy};

impl Actor {
    /// `on_close`.
    pub(super) fn meet_end(&mut self, closed: &mut Closed<'_>, session: Option<ConnId>) {
        let (id, now) = (closed.id(), closed.reactor().now());
        let mut model = self.model.borrow_mut();
        // Begun by a command and closed in the same turn it has no name yet.
        let known = model.index(id).or_else(|| self.kernel.borrow().find(id.sequence()));
        let Some(index) = known else {
            return model.fail(id, "on_close of a connection that nobody knows");
        };
        model.name(index, id);
        let unsent = closed.unsent();
        model.trace.note(format_args!("on_close of {id}: {}, {unsent} B unsent", closed.reason()));
        let end = End { reason: *closed.reason(), unsent, opened: closed.opened() };
        let kernel = Rc::clone(&self.kernel);
        let kernel = kernel.borrow();
        let is_stopping = model.is_stopping;
        let record = &mut model.records[index];
        // What is taken in the very turn of its end may be what the close itself has sent.
        if kernel.read_from.contains(&index) {
            record.active = now;
        }
        let outcome = if record.end.replace(end).is_some() {
            Err("on_close, twice".to_owned())
        } else if end.opened != (record.life == Life::Open)
            || (end.opened || record.decision.was_asked) != session.is_some()
        {
            Err(format!("opened: {}, while {:?}, with the session of {session:?}", end.opened, record.life))
        } else if session.is_some_and(|session| session != id) {
            Err(format!("closed with the session of {session:?}"))
        } else if closed.listener() != record.listener {
            Err(format!("came through {:?}", closed.listener()))
        } else {
            let socket = &kernel.sockets[index];
            let is_fit = is_fit(record, socket, end, &self.plan, now, is_stopping);
            is_fit.map_err(|why| format!("closed: {}; {why}", end.reason))
        };
        record.life = Life::Closed;
        record.timers.clear();
        model.unsent += end.unsent;
        model.check(id, outcome);
    }
}

/// Whether there was cause for that reason.
fn is_fit(
    record: &Record,
    socket: &Socket,
    end: End,
    plan: &Plan,
    now: Instant,
    is_stopping: bool,
) -> Result<(), String> {
    let options = &plan.options;
    let passed = |since: Instant, limit: Option<std::time::Duration>| match limit {
        None => Err("there is no such deadline".to_owned()),
        Some(limit) if now - since < limit => Err(format!("{:?} after {:?}", limit, now - since)),
        Some(_) => Ok(()),
    };
    let when = |is_so: bool, otherwise: &str| if is_so { Ok(()) } else { Err(otherwise.to_owned()) };
    if let Some(outcome) = parting::is_fit(record, socket, end, plan, now) {
        return outcome;
    }
    match end.reason {
        CloseReason::Peer { code: None } if !end.opened => {
            let has_left = socket.fin_arrived && socket.is_read_through();
            when(has_left && record.script.says == Some(Says::Torn), "its header was not torn")
        }
        CloseReason::Peer { code: None } => when(record.intake.is_at_end, "its end was not told"),
        CloseReason::Handshake => match record.is_proxied() && !end.opened {
            true => passed(record.began, Some(options.handshake_timeout)),
            false => Err("no header was to come".to_owned()),
        },
        CloseReason::Protocol if !end.opened => {
            when(record.script.says == Some(Says::Nonsense), "the proxy kept the rules")
        }
        CloseReason::Local => {
            when(record.was_finished || record.was_closed || record.was_reset, "nobody asked for it")
        }
        CloseReason::ConnectFailed => when(!end.opened && socket.is_broken, "nobody refused"),
        CloseReason::ConnectTimeout => passed(record.began, record.timeout),
        CloseReason::Idle => passed(record.active, record.idle.unwrap_or(options.idle_timeout)),
        CloseReason::Auth => match record.is_authenticated {
            true => Err("it is authenticated".to_owned()),
            false => passed(record.began, record.kind.authentication),
        },
        CloseReason::Lifetime => passed(record.began, options.lifetime),
        CloseReason::WriteStall => {
            let is_finishing = record.was_finished || record.is_web();
            let closing = is_finishing.then_some(options.close_timeout);
            passed(record.taken_at, options.write_stall_timeout.or(closing))
        }
        CloseReason::CloseTimeout => match record.fin_at {
            Some(since) => passed(since, Some(options.close_timeout)),
            None => Err("no FIN was said".to_owned()),
        },
        CloseReason::Protocol => {
            let is_broken = record.script.ending == Ending::Broken && record.intake.has_all_messages();
            when(is_broken, "the peer kept the rules")
        }
        CloseReason::InboundOverflow => {
            let (unused, takes) = record.intake.unused(socket.read);
            let is_over = unused.max(takes) > options.inbound_limit;
            when(is_over, &format!("{unused} B are unused, of {takes}"))
        }
        CloseReason::MemoryPressure => when(options.buffer_memory <= 1 << 20, "there is memory enough"),
        CloseReason::BackPressure => {
            let is_over = record.was_refused || record.is_blind;
            when(is_over && record.kind.policy == Policy::Close, "it was not over the limit")
        }
        CloseReason::Io => when(socket.is_broken, "the socket is not broken"),
        CloseReason::Panic => {
            let throws = record.script.ending == Ending::Panics && record.intake.has_all_messages();
            when(record.threw || throws, "nobody panicked")
        }
        CloseReason::Detached => when(record.heir.is_some(), "nobody takes it out"),
        CloseReason::Shutdown => when(is_stopping, "nobody stops"),
        other => Err(format!("{other} is no reason known here")),
    }
}

/// Whether it was to be closed with a reset.
fn is_abuse(reason: CloseReason) -> bool {
    use CloseReason::*;
    matches!(reason, InboundOverflow | MemoryPressure | BackPressure | WriteStall)
}

/// The accounts of one that is gone, when the kernel has been looked at for the last time.
pub(super) fn settle_accounts(model: &mut Model, index: usize, socket: &mut Socket, plan: &Plan) {
    let record = &mut model.records[index];
    let (Some(id), Some(end)) = (record.id, record.end) else { return };
    socket.open(usize::MAX);
    let bytes = std::mem::take(&mut socket.taken);
    let mut outcome = record.hear(&bytes).and_then(|()| record.close_accounts(end.unsent));
    outcome = outcome.and(parting::check_last_words(record, end, plan, socket, model.is_stopping));
    let asked = record.was_closed || record.was_reset;
    let is_graceful = match end.reason {
        CloseReason::Local => end.opened && !asked,
        CloseReason::Peer { code: None } if !record.is_secure() => end.opened && !asked,
        // What cuts these short does not change the reason.
        CloseReason::Peer { code: None } if !end.opened => false,
        CloseReason::Protocol | CloseReason::Peer { .. } => plan.is_gentle && !asked && !model.is_stopping,
        _ => false,
    };
    let is_sound = !socket.seal.as_ref().is_some_and(|seal| seal.may_break());
    let is_graceful = is_graceful && is_sound && !matches!(record.securing, Securing::Since(_));
    let (sure, due) = record.ledger.left();
    let missed = record.ledger.missed + if is_graceful { due } else { 0 };
    let with_reset = socket.closed.is_some_and(|closing| closing.with_reset);
    if is_graceful && (sure > 0 || end.unsent > 0) {
        outcome = outcome.and(Err(format!("closed gracefully, but {} B were never sent", end.unsent)));
    }
    if is_graceful && !socket.closed.is_some_and(|closing| closing.is_clean()) {
        outcome = outcome.and(Err(format!("closed gracefully, but the peer sees {:?}", socket.closed)));
    }
    if is_graceful && socket.seal.as_ref().is_some_and(|seal| !seal.heard_goodbye) {
        outcome = outcome.and(Err("closed gracefully, without a goodbye".to_owned()));
    }
    // But one who was told 500 in place of a page, or was not there any more to hear it.
    let was_told = end.reason == CloseReason::MemoryPressure
        && record.decision.statuses.contains(&403)
        && matches!(record.ear.status, None | Some(500));
    if is_abuse(end.reason) && !with_reset && !was_told {
        outcome = outcome.and(Err("closed for abuse, without a reset".to_owned()));
    }
    let may_be_cut_short = match end.reason {
        CloseReason::Protocol => true,
        CloseReason::Peer { code } => code.is_some() || record.is_secure(),
        CloseReason::Auth | CloseReason::Lifetime | CloseReason::Panic => record.is_web(),
        CloseReason::Handshake => record.is_web() || record.is_secure(),
        _ => false,
    };
    if with_reset && !(is_abuse(end.reason) || record.was_reset || may_be_cut_short) {
        outcome = outcome.and(Err("closed with a reset that nobody wanted".to_owned()));
    }
    // An engine that stops drops what was to be sent to many.
    if missed > 0 && !model.is_stopping {
        model.trace.note(format_args!("{missed} messages did not reach {id}"));
        model.missed += missed;
    }
    let outcome = outcome.map_err(|what| format!("{what}; it was {}", end.reason));
    model.check(id, outcome);
}
