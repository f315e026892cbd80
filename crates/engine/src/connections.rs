//! The slabs, and what other threads may see of them.

use slab::Slab;

pub(crate) use crate::roll::Roll;
use crate::{
    ConnId, ReactorId,
    connection::Connection,
    id::{Key, Sequence},
};

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Slots looked at in search of connections before others have their turn.
const LOOKS: usize = 4 * CHUNK;

fn place(key: Key) -> (usize, usize) {
    ((key.0 >> CHUNK_BITS) as usize, key.0 as usize % CHUNK)
}

/// A reactor's connections, in slabs of 4,096: growth never copies, and an emptied slab can go back to the system.
///
/// ```text
/// key: | chunk (key >> 12) | slot (key & 4095) |      chunk 0              chunk 1      chunk 2
///                                                     [ conn conn .. ]     (given back) [ .. conn .. ]
/// ```
///
/// A new connection goes to the lowest chunk with room, so that the higher ones empty themselves.
pub(crate) struct Connections {
    reactor: ReactorId,
    /// One that was given back has no storage.
    chunks: Vec<Slab<Connection>>,
    /// No chunk below this one has room.
    first_room: usize,
    len: usize,
    next: Sequence,
}

impl Connections {
    pub(crate) fn new(reactor: ReactorId) -> Self {
        Connections { reactor, chunks: Vec::new(), first_room: 0, len: 0, next: Sequence::FIRST }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&Connection> {
        let (chunk, slot) = place(key);
        self.chunks.get(chunk)?.get(slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        let (chunk, slot) = place(key);
        self.chunks.get_mut(chunk)?.get_mut(slot)
    }

    /// The connection of that name, unless another one has its slot by now.
    #[inline]
    pub(crate) fn find(&mut self, id: ConnId) -> Option<&mut Connection> {
        debug_assert_eq!(id.reactor(), self.reactor);
        self.get_mut(id.key()).filter(|connection| connection.sequence == id.sequence())
    }

    pub(crate) fn id(&self, key: Key) -> Option<ConnId> {
        self.get(key).map(|connection| ConnId::new(self.reactor, key, connection.sequence))
    }

    /// The sequence number that the next connection will get.
    pub(crate) fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// Whether one more can be inserted.
    pub(crate) fn has_room(&self) -> bool {
        self.len < ConnId::MAX_KEYS as usize
    }

    /// The next connection gets this one: what is to happen when the numbers begin anew.
    #[cfg(test)]
    pub(crate) fn begin_at(&mut self, next: Sequence) {
        self.next = next;
    }

    /// Gives it a slot and a sequence number; hands it back when all slots are taken.
    pub(crate) fn insert(&mut self, mut connection: Connection) -> Result<ConnId, Connection> {
        let has_room = |slab: &Slab<_>| slab.len() < CHUNK;
        let room = self.chunks.iter().skip(self.first_room).position(has_room);
        let chunk = room.map_or(self.chunks.len(), |position| self.first_room + position);
        if chunk << CHUNK_BITS >= ConnId::MAX_KEYS as usize {
            return Err(connection);
        }
        if chunk == self.chunks.len() {
            self.chunks.push(Slab::new());
        }
        connection.sequence = self.next;
        self.next = self.next.next();
        self.first_room = chunk;
        self.len += 1;
        let slab = &mut self.chunks[chunk];
        if slab.capacity() == 0 {
            *slab = Slab::with_capacity(CHUNK);
        }
        let sequence = connection.sequence;
        let key = Key((chunk << CHUNK_BITS | slab.insert(connection)) as u32);
        Ok(ConnId::new(self.reactor, key, sequence))
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Connection> {
        let (chunk, slot) = place(key);
        let removed = self.chunks.get_mut(chunk)?.try_remove(slot)?;
        self.first_room = self.first_room.min(chunk);
        self.len -= 1;
        Some(removed)
    }

    /// Puts the keys in use from `from` on into `found`, as many as it has room for: how many they are, and where to look for
    /// the next ones, nowhere when there are none. Who looks stops after [`LOOKS`] slots: those that stand empty take time too.
    pub(crate) fn some_keys_from(&self, from: Key, found: &mut [Key]) -> (usize, Option<Key>) {
        let (mut count, mut looks) = (0, 0);
        let (mut chunk, mut slot) = place(from);
        while let Some(slab) = self.chunks.get(chunk) {
            let slots = if slab.is_empty() { 0 } else { CHUNK };
            let (begun, end) = (slot, slots.min(slot + LOOKS - looks));
            while let Some(used) = (slot..end).find(|&slot| slab.contains(slot)) {
                let key = Key((chunk << CHUNK_BITS | used) as u32);
                if count == found.len() {
                    return (count, Some(key));
                }
                found[count] = key;
                count += 1;
                slot = used + 1;
            }
            if end < slots {
                return (count, Some(Key((chunk << CHUNK_BITS | end) as u32)));
            }
            looks += end.saturating_sub(begun);
            (chunk, slot) = (chunk + 1, 0);
        }
        (count, None)
    }

    /// The keys in use from `from` on.
    pub(crate) fn keys_from(&self, from: Key) -> impl Iterator<Item = Key> + '_ {
        let (first, slot) = place(from);
        let chunks = self.chunks.iter().enumerate().skip(first);
        chunks.filter(|(_, slab)| !slab.is_empty()).flat_map(move |(index, slab)| {
            let from = if index == first { slot } else { 0 };
            let used = (from..CHUNK).filter(|&slot| slab.contains(slot));
            used.map(move |slot| Key((index << CHUNK_BITS | slot) as u32))
        })
    }

    /// Whether there are chunks beside the lowest one, which may be empty by now.
    pub(crate) fn has_spare_room(&self) -> bool {
        self.chunks.len() > 1
    }

    /// Frees the emptied chunks but for the lowest one, the highest first, and `most` of them at most; `also` is told each
    /// chunk freed. How many were.
    pub(crate) fn shrink(&mut self, most: usize, mut also: impl FnMut(usize)) -> usize {
        let mut freed = 0;
        let chunks = self.chunks.iter_mut().enumerate().skip(1).rev();
        let empty = chunks.filter(|(_, slab)| slab.capacity() > 0 && slab.is_empty());
        for (index, slab) in empty.take(most) {
            *slab = Slab::new();
            also(index);
            freed += 1;
        }
        while self.chunks.last().is_some_and(|slab| slab.capacity() == 0) {
            self.chunks.pop();
        }
        freed
    }
}

/// What the handler keeps beside each connection, under the connection's key.
pub(crate) struct Sessions<S>(Vec<Vec<Option<S>>>);

impl<S: Default> Sessions<S> {
    pub(crate) fn new() -> Self {
        Sessions(Vec::new())
    }

    pub(crate) fn insert(&mut self, key: Key, session: S) {
        let (chunk, slot) = place(key);
        if self.0.len() <= chunk {
            self.0.resize_with(chunk + 1, Vec::new);
        }
        let chunk = &mut self.0[chunk];
        if chunk.capacity() == 0 {
            chunk.reserve_exact(CHUNK);
        }
        if chunk.len() <= slot {
            chunk.resize_with(slot + 1, || None);
        }
        chunk[slot] = Some(session);
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut S> {
        let (chunk, slot) = place(key);
        self.0.get_mut(chunk)?.get_mut(slot)?.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<S> {
        let (chunk, slot) = place(key);
        self.0.get_mut(chunk)?.get_mut(slot)?.take()
    }

    pub(crate) fn free_chunk(&mut self, chunk: usize) {
        if let Some(chunk) = self.0.get_mut(chunk) {
            *chunk = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn connection() -> Connection {
        Connection::new(None, 0, Clock::new(std::time::Instant::now()).stamp())
    }

    #[test]
    fn a_connection_takes_no_more_room_in_a_slab_than_by_itself() {
        let slab = Slab::<Connection>::with_capacity(CHUNK);
        assert_eq!(slab.capacity(), CHUNK);
        // An entry is an enum of a connection and a free-list link; a spare value of the connection tells them apart.
        assert_eq!(size_of::<Option<Connection>>(), size_of::<Connection>());
    }

    #[test]
    fn an_id_never_finds_the_slots_next_tenant() {
        let mut connections = Connections::new(ReactorId(0));
        let old = connections.insert(connection()).ok().unwrap();
        assert!(connections.find(old).is_some());
        connections.remove(old.key());
        let new = connections.insert(connection()).ok().unwrap();
        assert_eq!(new.key(), old.key());
        assert!(connections.find(old).is_none());
        assert!(connections.find(new).is_some());
    }

    #[test]
    fn no_connection_moves_while_others_come() {
        let mut connections = Connections::new(ReactorId(0));
        let mut sessions = Sessions::<u64>::new();
        let mut places = Vec::new();
        for n in 0..50 * CHUNK {
            let key = connections.insert(connection()).ok().unwrap().key();
            sessions.insert(key, n as u64);
            if n % 1000 == 0 {
                let place = std::ptr::from_ref(connections.get(key).unwrap()).addr();
                places.push((key, place, std::ptr::from_ref(sessions.get_mut(key).unwrap()).addr()));
            }
        }
        for (key, place, session) in places {
            assert_eq!(std::ptr::from_ref(connections.get(key).unwrap()).addr(), place);
            assert_eq!(std::ptr::from_ref(sessions.get_mut(key).unwrap()).addr(), session);
        }
    }

    #[test]
    fn a_look_for_few_among_very_many_empty_slots_is_cut_into_slices() {
        let mut connections = Connections::new(ReactorId(0));
        let ids: Vec<_> = (0..10 * CHUNK).map(|_| connections.insert(connection()).ok().unwrap()).collect();
        let (few, gone) = ids.iter().partition::<Vec<ConnId>, _>(|id| id.key().0 as usize % CHUNK == 77);
        gone.iter().for_each(|id| drop(connections.remove(id.key())));
        let (mut found, mut looks, mut next) = (Vec::new(), 0, Some(Key(0)));
        while let Some(from) = next {
            let mut keys = [Key(0); 512];
            let (count, on) = connections.some_keys_from(from, &mut keys);
            assert!(count <= LOOKS / CHUNK);
            found.extend(&keys[..count]);
            (looks, next) = (looks + 1, on);
        }
        assert_eq!(found, few.iter().map(|id| id.key()).collect::<Vec<_>>());
        assert_eq!(looks, 3);
        let mut keys = [Key(0); 2];
        let (count, next) = connections.some_keys_from(Key(0), &mut keys);
        assert_eq!((&keys[..count], next.is_some()), (&found[..2], true));
        assert_eq!(connections.some_keys_from(Key(u32::MAX >> 8), &mut keys), (0, None));
    }

    #[test]
    fn the_lowest_chunk_with_room_comes_first_and_emptied_ones_are_freed() {
        let mut connections = Connections::new(ReactorId(0));
        let ids: Vec<_> = (0..3 * CHUNK).map(|_| connections.insert(connection()).ok().unwrap()).collect();
        let survivor = ids[2 * CHUNK + 5];
        for id in ids.iter().filter(|&&id| id != survivor) {
            connections.remove(id.key());
        }
        let mut freed = Vec::new();
        assert_eq!(connections.shrink(usize::MAX, |chunk| freed.push(chunk)), 1);
        assert_eq!(freed, [1]);
        assert_eq!(connections.keys_from(Key(0)).collect::<Vec<_>>(), [survivor.key()]);
        assert!(connections.keys_from(Key(survivor.key().0 + 1)).next().is_none());
        let next = connections.insert(connection()).ok().unwrap();
        assert!(next.key().0 < CHUNK as u32);
        connections.remove(survivor.key());
        connections.shrink(usize::MAX, |_| ());
        assert!(!connections.has_spare_room());
        assert_eq!(connections.len(), 1);
    }
}
