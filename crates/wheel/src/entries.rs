//! Storage of entries: chunks that never move, vacancies linked through themselves.

use crate::key::TimerKey;
use crate::link::Link;

/// Entries in one chunk: 24 KiB of them where the value is a `u64`.
///
/// Small enough that a wheel with a few timers stays small and that filling a new chunk is no pause;
/// large enough that the table of a million timers' chunks is 16 KiB.
pub(crate) const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;

/// Indices stay below this, for the links' top bit has another meaning.
const MAX_ENTRIES: usize = 1 << 31;

/// One timer, and its links to its neighbours in the list it is on.
#[derive(Clone, Copy)]
pub(crate) struct Entry<T> {
    pub(crate) deadline: u64,
    pub(crate) value: T,
    /// [`Link::VACANT`] if and only if the entry is not in use.
    pub(crate) prev: Link,
    /// For a vacant entry: the next vacancy of its chunk, or [`Link::VACANT`] after the last.
    pub(crate) next: Link,
}

const _: () = assert!(size_of::<Entry<u64>>() == 24);

/// All entries of a wheel, those in use and the vacancies.
///
/// ```text
/// chunks      0            1            2
///             [##########] [#.##...##.] absent
/// with_room   0            1            0
/// lowest ------------------^
/// ```
///
/// A new entry goes into the lowest chunk that has room, so that after a storm the high chunks empty and
/// [`Entries::shrink`] can give them back. Finding it looks at one word for 64 chunks, and only when
/// a chunk has filled up: 16 words at a million entries.
pub(crate) struct Entries<T> {
    chunks: Vec<Chunk<T>>,
    /// One bit per chunk: present, with a vacancy.
    with_room: Vec<u64>,
    /// The lowest chunk with room; `chunks.len()` where none has.
    lowest: usize,
    len: usize,
}

struct Chunk<T> {
    /// Absent while given back.
    entries: Option<Box<[Entry<T>; CHUNK]>>,
    /// The chunk's vacancies, last left first.
    vacant: Option<TimerKey>,
    in_use: u32,
}

impl<T: Copy> Entries<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), with_room: Vec::new(), lowest: 0, len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes a vacancy for an entry that is on no list yet; the caller links it at once.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> TimerKey {
        if self.lowest == self.chunks.len() {
            self.grow(value);
        }
        let number = self.lowest;
        let chunk = &mut self.chunks[number];
        let (Some(key), Some(entries)) = (chunk.vacant, &mut chunk.entries) else {
            unreachable!("chunk {number} is listed as having room and has none")
        };
        let entry = &mut entries[offset(key)];
        debug_assert!(entry.prev == Link::VACANT, "vacancy {key:?} is in use");
        chunk.vacant = entry.next.entry();
        chunk.in_use += 1;
        entry.deadline = deadline;
        entry.value = value;
        self.len += 1;
        if chunk.vacant.is_none() {
            self.leave_full(number);
        }
        key
    }

    /// Gives up an entry already taken off its list.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) {
        let number = chunk_of(key);
        let chunk = &mut self.chunks[number];
        let Some(entries) = &mut chunk.entries else { unreachable!("{key:?} is in an absent chunk") };
        let entry = &mut entries[offset(key)];
        debug_assert!(entry.prev != Link::VACANT, "{key:?} is vacant already");
        debug_assert!(chunk.in_use > 0 && self.len > 0);
        entry.prev = Link::VACANT;
        entry.next = chunk.vacant.map_or(Link::VACANT, Link::to);
        chunk.vacant = Some(key);
        chunk.in_use -= 1;
        self.len -= 1;
        self.with_room[number / 64] |= 1 << (number % 64);
        self.lowest = self.lowest.min(number);
    }

    /// The entry a caller's key names, if it names one.
    #[inline]
    pub(crate) fn lookup(&self, key: TimerKey) -> Option<&Entry<T>> {
        let entry = &self.chunks.get(chunk_of(key))?.entries.as_ref()?[offset(key)];
        (entry.prev != Link::VACANT).then_some(entry)
    }

    /// The entry a link names.
    #[inline]
    pub(crate) fn at(&mut self, key: TimerKey) -> &mut Entry<T> {
        match &mut self.chunks[chunk_of(key)].entries {
            Some(entries) => &mut entries[offset(key)],
            None => unreachable!("a link names {key:?}, which is in an absent chunk"),
        }
    }

    /// Gives back the chunks in which nothing is in use, the highest first, `most` of them at most; how many. Looks at each
    /// chunk once.
    pub(crate) fn shrink(&mut self, most: usize) -> usize {
        let mut given_back = 0;
        let chunks = self.chunks.iter_mut().enumerate().rev();
        let empty = chunks.filter(|(_, chunk)| chunk.in_use == 0 && chunk.entries.is_some());
        for (number, chunk) in empty.take(most) {
            given_back += 1;
            *chunk = Chunk { entries: None, vacant: None, in_use: 0 };
            self.with_room[number / 64] &= !(1 << (number % 64));
        }
        let kept = self.chunks.iter().rposition(|chunk| chunk.entries.is_some()).map_or(0, |last| last + 1);
        self.chunks.truncate(kept);
        self.chunks.shrink_to_fit();
        self.with_room.truncate(kept.div_ceil(64));
        self.with_room.shrink_to_fit();
        self.lowest = self.first_with_room(0);
        given_back
    }

    /// Bytes held on the heap.
    pub(crate) fn memory(&self) -> usize {
        let present = self.chunks.iter().filter(|chunk| chunk.entries.is_some()).count();
        present * size_of::<[Entry<T>; CHUNK]>()
            + self.chunks.capacity() * size_of::<Chunk<T>>()
            + self.with_room.capacity() * size_of::<u64>()
    }

    /// Brings in the lowest absent chunk. `filler` stands in its vacancies until they are taken, for
    /// there is no other value of type `T` to be had.
    #[cold]
    fn grow(&mut self, filler: T) {
        let absent = self.chunks.iter().position(|chunk| chunk.entries.is_none());
        let number = absent.unwrap_or(self.chunks.len());
        assert!(number < MAX_ENTRIES / CHUNK, "a wheel holds at most {MAX_ENTRIES} entries");
        if number == self.chunks.len() {
            self.chunks.push(Chunk { entries: None, vacant: None, in_use: 0 });
            self.with_room.resize(self.chunks.len().div_ceil(64), 0);
        }

        let first = (number * CHUNK) as u32;
        let vacancy = Entry { deadline: 0, value: filler, prev: Link::VACANT, next: Link::VACANT };
        let mut entries: Box<[Entry<T>]> = vec![vacancy; CHUNK].into_boxed_slice();
        for (entry, next) in entries[..CHUNK - 1].iter_mut().zip(first + 1..) {
            entry.next = TimerKey::from_index(next).map_or(Link::VACANT, Link::to);
        }
        let chunk = &mut self.chunks[number];
        chunk.entries = entries.try_into().ok();
        debug_assert!(chunk.entries.is_some(), "a chunk of other than {CHUNK} entries");
        // Index 0 is left out, for no key is zero.
        chunk.vacant = TimerKey::from_index(first.max(1));
        self.with_room[number / 64] |= 1 << (number % 64);
        self.lowest = number;
    }

    /// Notes that chunk `number`, the lowest with room, has none left.
    #[cold]
    fn leave_full(&mut self, number: usize) {
        self.with_room[number / 64] &= !(1 << (number % 64));
        self.lowest = self.first_with_room(number / 64);
    }

    /// The lowest chunk with room, known not to lie before the given word of `with_room`.
    fn first_with_room(&self, word: usize) -> usize {
        let mut words = self.with_room.iter().enumerate().skip(word);
        words
            .find(|(_, bits)| **bits != 0)
            .map_or(self.chunks.len(), |(word, bits)| word * 64 + bits.trailing_zeros() as usize)
    }
}

#[inline]
fn chunk_of(key: TimerKey) -> usize {
    key.index() as usize / CHUNK
}

#[inline]
fn offset(key: TimerKey) -> usize {
    key.index() as usize % CHUNK
}
