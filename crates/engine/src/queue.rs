//! A queue that never moves what is in it.

use std::collections::VecDeque;

/// A first-in-first-out queue in segments of 512: growth copies nothing but the table of segments, where a `VecDeque` copies
/// all there is. For what may come to be a million in one moment.
///
/// ```text
/// segments   [ - - 2 3 4 5 ]  [ 6 7 8 9 .. ]  [ .. 1022 1023 - - - ]
///                  ^ first out                          ^ last in
/// ```
///
/// Every segment but the last has been filled once, and every one but the first is full or the last.
pub(crate) struct Queue<T> {
    segments: VecDeque<VecDeque<T>>,
    len: usize,
}

const SEGMENT: usize = 512;

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue { segments: VecDeque::new(), len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.len += 1;
        match self.segments.back_mut() {
            Some(last) if last.len() < SEGMENT => last.push_back(item),
            _ => {
                let mut segment = VecDeque::with_capacity(if self.len == 1 { 0 } else { SEGMENT });
                segment.push_back(item);
                self.segments.push_back(segment);
            }
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.segments.front_mut()?;
        let item = first.pop_front()?;
        self.len -= 1;
        // The only one stays: a queue that comes and goes by a few allocates nothing.
        if first.is_empty() && self.segments.len() > 1 {
            self.segments.pop_front();
        }
        Some(item)
    }

    /// The one that comes out behind so many others.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let first = self.segments.front().map_or(0, VecDeque::len);
        match index.checked_sub(first) {
            None => self.segments.front_mut()?.get_mut(index),
            Some(behind) => self.segments.get_mut(1 + behind / SEGMENT)?.get_mut(behind % SEGMENT),
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.segments.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.segments.iter_mut().flatten()
    }

    /// Gives back what a mass has left of the table of segments.
    pub(crate) fn shrink(&mut self) {
        self.segments.shrink_to(4);
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        let items: usize = self.segments.iter().map(VecDeque::capacity).sum();
        items * size_of::<T>() + self.segments.capacity() * size_of::<VecDeque<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_comes_out_in_order_and_is_found_by_its_place() {
        let mut queue = Queue::new();
        let (mut next, mut first) = (0_u32, 0_u32);
        // Longer, shorter, empty, and all of it at every place within a segment.
        for (push, pop) in [(3, 2), (5_000, 1), (700, 1_400), (0, 4_299), (1, 2), (2_000, 1_999)] {
            for _ in 0..push {
                queue.push_back(next);
                next += 1;
            }
            assert_eq!(queue.len(), (next - first) as usize);
            assert!(
                queue.iter().copied().eq(first..next)
                    && queue.iter_mut().rev().map(|n| *n).eq((first..next).rev())
            );
            for index in 0..queue.len() {
                assert_eq!(queue.get_mut(index).copied(), Some(first + index as u32));
            }
            assert_eq!(queue.get_mut(queue.len()), None);
            for _ in 0..pop.min(queue.len()) {
                assert_eq!(queue.pop_front(), Some(first));
                first += 1;
            }
        }
    }

    #[test]
    fn nothing_in_it_moves_while_it_grows_and_a_mass_leaves_nothing_behind() {
        let mut queue = Queue::new();
        // What the first few move is less than a segment.
        (0..SEGMENT as u64).for_each(|n| queue.push_back(n));
        let place = |queue: &mut Queue<u64>, n| std::ptr::from_ref(queue.get_mut(n).unwrap()).addr();
        let before = place(&mut queue, 17);
        (0..1_000_000).for_each(|n| queue.push_back(n));
        assert_eq!(place(&mut queue, 17), before);
        while queue.pop_front().is_some() {}
        queue.shrink();
        assert!(queue.memory() <= 5 << 10, "{} B", queue.memory());
    }
}
