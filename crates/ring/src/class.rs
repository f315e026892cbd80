//! The sizes in which storage is lent.

/// A size of storage: 256 bytes, twice that, and so on up to 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class(u8);

impl Class {
    /// How many classes there are.
    pub(crate) const COUNT: usize = (MAX_BITS - MIN_BITS + 1) as usize;
    /// Bytes in a block of the smallest class.
    pub(crate) const MIN_SIZE: usize = 1 << MIN_BITS;
    /// Bytes in a block of the largest class.
    pub(crate) const MAX_SIZE: usize = 1 << MAX_BITS;

    /// The smallest class that holds `need` bytes, if one does.
    #[inline]
    pub(crate) fn holding(need: usize) -> Option<Class> {
        (need <= Class::MAX_SIZE).then(|| Class::of_size(need.max(Class::MIN_SIZE).next_power_of_two()))
    }

    /// The class whose blocks have exactly `size` bytes.
    #[inline]
    pub(crate) fn of_size(size: usize) -> Class {
        debug_assert!(size.is_power_of_two() && (Class::MIN_SIZE..=Class::MAX_SIZE).contains(&size));
        Class((size.trailing_zeros() - MIN_BITS) as u8)
    }

    /// Bytes in a block of this class.
    #[inline]
    pub(crate) fn size(self) -> usize {
        Class::MIN_SIZE << self.0
    }

    /// Position in a table of [`Class::COUNT`] entries, smallest class first.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

const MIN_BITS: u32 = 8;
const MAX_BITS: u32 = 26;

#[cfg(test)]
mod tests {
    use super::Class;

    #[test]
    fn smallest_class_that_fits_is_chosen_at_every_edge() {
        for index in 0..Class::COUNT {
            let size = Class::MIN_SIZE << index;
            let class = Class::holding(size).unwrap();
            assert_eq!((class.index(), class.size()), (index, size));
            assert_eq!(Class::of_size(size), class);
            assert_eq!(Class::holding(size - 1), Some(class));
            let next = (index + 1 < Class::COUNT).then_some(index + 1);
            assert_eq!(Class::holding(size + 1).map(Class::index), next);
        }
    }

    #[test]
    fn nothing_needs_the_smallest_class_and_too_much_needs_none() {
        assert_eq!(Class::holding(0).unwrap().size(), Class::MIN_SIZE);
        assert_eq!(Class::holding(1).unwrap().size(), Class::MIN_SIZE);
        assert_eq!(Class::holding(Class::MAX_SIZE + 1), None);
        assert_eq!(Class::holding(usize::MAX), None);
    }
}
