//! How WebSockets end: what the peer is told, and whether that goes with the reason.

use std::time::{Duration, Instant};

use super::{
    model::{End, Record},
    plan::Plan,
    script::Ending,
    seal::Manner,
    socket::Socket,
    turning::Securing,
    web::{Asks, Role, Talk},
};
use crate::CloseReason;

/// Whether there was cause for a reason that is told of WebSockets otherwise than of others; none for those alike.
pub(super) fn is_fit(
    record: &Record,
    socket: &Socket,
    end: End,
    plan: &Plan,
    now: Instant,
) -> Option<Result<(), String>> {
    if let Some(outcome) = seal_is_fit(record, socket, end, plan, now) {
        return Some(outcome);
    }
    let talk = record.script.talk.as_ref()?;
    let when = |is_so: bool, otherwise: &str| if is_so { Ok(()) } else { Err(otherwise.to_owned()) };
    let passed = |since: Instant, limit: Duration| when(now - since >= limit, "there was time left");
    let has_left = socket.fin_arrived && socket.is_read_through();
    let has_all = record.intake.has_all_messages();
    Some(match end.reason {
        CloseReason::Peer { code: None } if !end.opened => {
            when(has_left && talk.head.asks == Asks::Torn, "its head was not torn")
        }
        CloseReason::Peer { code: None } => when(has_left && has_all, "it has not left, or not all was told"),
        CloseReason::Peer { code } => {
            when(code == talk.closes && has_all && end.opened, "it did not close so, or not all was told")
        }
        CloseReason::Handshake if end.opened => Err("it was open".to_owned()),
        CloseReason::Handshake if talk.role == Role::Server && is_refusal(talk) => Ok(()),
        CloseReason::Handshake => match record.decision.put_off {
            Some((since, within)) => passed(since, within),
            None => passed(record.began, plan.options.handshake_timeout),
        },
        CloseReason::Protocol if !end.opened => {
            when(matches!(talk.head.asks, Asks::Unreadable(_)), "its request can be read")
        }
        CloseReason::Protocol => {
            when(record.script.ending == Ending::Broken && has_all, "the peer kept the rules")
        }
        CloseReason::InboundOverflow => Err("a frame is never more than its largest message".to_owned()),
        CloseReason::Local => {
            let was_asked = record.was_finished || record.was_closed || record.was_reset;
            let is_refused = !end.opened && !record.decision.statuses.is_empty();
            when(was_asked || is_refused, "nobody asked for it")
        }
        CloseReason::Idle => {
            let own = record.idle.unwrap_or(plan.options.idle_timeout);
            let beat = record.kind.heartbeat().map(|beat| beat.timeout);
            let limit = own.into_iter().chain(beat).min();
            limit.map_or(Err("there is no such deadline".to_owned()), |limit| passed(record.active, limit))
        }
        _ => return None,
    })
}

/// The same of what TLS, or who speaks it, makes of an end.
fn seal_is_fit(
    record: &Record,
    socket: &Socket,
    end: End,
    plan: &Plan,
    now: Instant,
) -> Option<Result<(), String>> {
    let seal = socket.seal.as_ref()?;
    let is_left = socket.is_read_through() && (socket.fin_arrived || seal.said_goodbye);
    let may_break = seal.may_break();
    let when = |is_so: bool, otherwise: &str| Some(if is_so { Ok(()) } else { Err(otherwise.to_owned()) });
    match end.reason {
        CloseReason::Peer { code: None } if !end.opened => when(is_left, "it has not left"),
        CloseReason::Peer { code: None } if !seal.said_goodbye => {
            when(is_left && socket.fin_arrived, "it was not truncated")
        }
        CloseReason::Peer { code: None } if record.is_web() => {
            when(is_left && record.intake.has_all_messages(), "it has not left, or not all was told")
        }
        CloseReason::Handshake if may_break => Some(Ok(())),
        CloseReason::Handshake if end.opened => match record.securing {
            Securing::Since(since) => {
                when(now - since >= plan.options.handshake_timeout, "there was time left")
            }
            _ => when(false, "it was secured"),
        },
        CloseReason::Peer { code: None } if matches!(record.securing, Securing::Since(_)) => {
            when(is_left, "it has not left")
        }
        CloseReason::Handshake if !end.opened && record.script.talk.is_none() => {
            when(now - record.began >= plan.options.handshake_timeout, "there was time left")
        }
        CloseReason::Protocol if may_break => Some(Ok(())),
        CloseReason::InboundOverflow if record.script.talk.is_none() => {
            let (unused, takes) = record.intake.unused(socket.script.bytes.len());
            when(unused.max(takes) > plan.options.inbound_limit, "it is not more than the limit")
        }
        _ => None,
    }
}

fn is_refusal(talk: &Talk) -> bool {
    matches!(talk.head.asks, Asks::Other(_) | Asks::Unreadable(_))
}

/// Whether the last that the peer heard goes with the reason, and is all there where it has to be.
pub(super) fn check_last_words(
    record: &Record,
    end: End,
    plan: &Plan,
    socket: &Socket,
    is_stopping: bool,
) -> Result<(), String> {
    let Some(talk) = &record.script.talk else { return Ok(()) };
    // Nothing is heard of it where TLS ends first.
    let is_honest = socket.seal.as_ref().is_none_or(|seal| seal.manner == Manner::Honest);
    let ear = &record.ear;
    if ear.pings > 0 && record.kind.heartbeat().is_none() {
        return Err(format!("{} pings without a heartbeat", ear.pings));
    }
    let is_cut_short = record.was_closed || record.was_reset || is_stopping || !plan.is_gentle;
    let is_told = match end.reason {
        CloseReason::Local | CloseReason::Protocol | CloseReason::Panic => true,
        CloseReason::Peer { code } => code.is_some(),
        _ => false,
    };
    // Asked to finish before it is open, one ends at once.
    let is_early = !end.opened && (record.was_finished || talk.role == Role::Server);
    let must_tell = is_told && !is_cut_short && !is_early && is_honest;
    if must_tell && !ear.is_between() {
        return Err("its last words are cut".to_owned());
    }
    if !end.opened {
        return check_answer(record, talk, end, must_tell);
    }
    let may_say = match end.reason {
        CloseReason::Peer { code: Some(1010) } if talk.role == Role::Client => Some(1000),
        CloseReason::Peer { code } => code,
        CloseReason::Protocol => talk.fault,
        CloseReason::Idle | CloseReason::Lifetime | CloseReason::Shutdown => Some(1001),
        CloseReason::Auth => Some(1008),
        CloseReason::Panic => Some(1011),
        _ => None,
    };
    match ear.closed {
        None if must_tell => Err("it was closed without a code".to_owned()),
        None => Ok(()),
        Some(said) if may_say == Some(said) => Ok(()),
        // A finish that was cut short has the reason that cut it.
        Some(1000 | 1001) if record.was_finished && talk_is_open(end) => Ok(()),
        Some(said) => Err(format!("closed with {said}, and not {may_say:?}")),
    }
}

/// Whether the reason may be that of a later moment than the code.
fn talk_is_open(end: End) -> bool {
    !matches!(end.reason, CloseReason::Peer { code: Some(_) } | CloseReason::Protocol)
}

/// The answer to a request of which no WebSocket came.
fn check_answer(record: &Record, talk: &Talk, end: End, must_tell: bool) -> Result<(), String> {
    if talk.role == Role::Server {
        return Ok(());
    }
    let Some(status) = record.ear.status else {
        return if must_tell { Err("it was not answered".to_owned()) } else { Ok(()) };
    };
    let is_right = match (end.reason, talk.head.asks) {
        (_, Asks::Unreadable(answered)) if answered == status => true,
        (CloseReason::Panic, _) => status == 500,
        // A page for which there was no memory.
        (CloseReason::MemoryPressure, _) if status == 500 => record.decision.statuses.contains(&403),
        (CloseReason::Handshake, _) => status == if record.decision.was_asked { 503 } else { 408 },
        (CloseReason::Shutdown, _) if status == 503 => record.decision.put_off.is_some(),
        _ => record.decision.statuses.contains(&status),
    };
    if is_right { Ok(()) } else { Err(format!("answered {status}, not {:?}", record.decision.statuses)) }
}
