//! What one turn may do, and what is worth keeping.

use std::time::Duration;

/// A turn's share of each kind of work is bounded by number, as below, and by time: what the kernel makes of a system call
/// takes it 1 us or 30. So when a turn has lasted so long, each kind of work has [`PIECE`] more at most.
pub(super) const TURN: Duration = Duration::from_millis(1);
/// Pieces of work between two looks at the clock.
pub(super) const PIECE: usize = 16;
/// Who had so many bytes read at once is read no more as soon as there is an event of it, but behind all who have little,
pub(super) const BULK: u64 = 32 << 10;
/// and when a turn has lasted so long, behind those, too, who have something by the next turn.
pub(super) const BULK_TURN: Duration = Duration::from_micros(100);
/// When a turn has lasted [`TURN`], an event has no more read of one than this,
pub(super) const LATE_ROOM: usize = 24 << 10;
/// and who had so much read then comes behind the others, too.
pub(super) const LATE_BULK: u64 = 4 << 10;
/// Events served in one turn, at most: what the kernel told of at once is brought to an end over several turns, so that
/// timers, commands and mass work have their share between them.
pub(super) const EVENTS: usize = 256;
/// Connections of one list served in one turn, at most: those to be read, flushed or told.
pub(super) const SLICE: usize = 512;
/// Connections buried in one turn, at most: closing a socket takes the kernel longest.
pub(super) const BURIALS: usize = 128;
/// Commands carried out in one turn, at most.
pub(super) const COMMANDS: usize = 256;
/// Timers fired in one turn, at most, and slots or entries the wheel moves for them.
pub(super) const TIMERS: usize = 512;
pub(super) const WHEEL_STEPS: usize = 4096;
/// The event list grows up to so many.
pub(super) const MOST_EVENTS: usize = 65_536;
/// Buffer memory that is worth giving back when half of it is free, though nobody has left.
pub(super) const MUCH: usize = 4 << 20;
/// Bytes that are worth asking the allocator to part with.
pub(super) const WORTH_TRIMMING: usize = 256 << 10;
/// Storage of a message that is worth keeping for another one.
pub(super) const LARGE: usize = 32 << 10;
/// Chunks of 4,096 connections, and of 1,024 timers, given back in one turn, at most: the kernel takes each page by itself.
pub(super) const CHUNKS_FREED: usize = 8;
pub(super) const TIMER_CHUNKS_FREED: usize = 64;
/// Of those that held buffer memory, so many are looked at with them.
pub(super) const HOLDERS_SWEPT: usize = 4096;
/// How long after a connection closed the reactor looks what it can give back.
pub(super) const TIDY_AFTER: Duration = Duration::from_secs(1);
/// What is read of a large message beyond the budget of a turn, at most.
pub(super) const LITTLE: usize = 256 << 10;
/// From here on a payload is written from where it lies: a copy would cost more than it saves.
pub(super) const DIRECT: usize = 4 << 10;
/// What pings and pongs may take beyond the limit, in bytes: a peer that pings and never reads costs no more.
pub(super) const CONTROL_ROOM: usize = 4 << 10;
