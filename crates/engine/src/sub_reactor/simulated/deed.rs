/// What a handler may do in a callback, to its own connection or to another, and what is done from other threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Echo,
    /// Several small ones: they leave together.
    Chatter,
    Send,
    Vectored,
    /// What the protocol refuses.
    Unsendable,
    HandleSend,
    HandleMany,
    HandleBroadcast,
    Broadcast,
    /// Broadcasts until the mailbox is full.
    Flood,
    /// Leaves a message with the engine.
    Hold,
    /// Leaves some raw bytes with the engine.
    Leave,
    Pause,
    Resume,
    HandleResume,
    Timer,
    CancelTimer,
    ReactorTimer,
    CancelReactorTimer,
    Finish,
    HandleFinish,
    FinishAll,
    ShutWrite,
    /// Goes on sending behind the peer's FIN.
    Linger,
    AutoPause,
    Authenticate,
    Post,
    PostTo,
    Dial,
    HandleDial,
    /// Takes a connection out.
    Detach,
    /// Puts one that was taken out in again.
    Adopt,
    HandleAdopt,
    /// Answers a request that was put off.
    Answer,
    /// Has a descriptor watched, and closes those with a tag.
    Watch,
    Unwatch,
    /// From here on something is lost by it.
    Idle,
    Close,
    HandleClose,
    Reset,
    HandleReset,
    Panic,
}

impl Deed {
    pub(super) const ALL: &[Deed] = &[
        Deed::Echo,
        Deed::Chatter,
        Deed::Send,
        Deed::Vectored,
        Deed::Unsendable,
        Deed::HandleSend,
        Deed::HandleMany,
        Deed::HandleBroadcast,
        Deed::Broadcast,
        Deed::Flood,
        Deed::Hold,
        Deed::Leave,
        Deed::Pause,
        Deed::Resume,
        Deed::HandleResume,
        Deed::Timer,
        Deed::CancelTimer,
        Deed::ReactorTimer,
        Deed::CancelReactorTimer,
        Deed::Finish,
        Deed::HandleFinish,
        Deed::FinishAll,
        Deed::ShutWrite,
        Deed::Linger,
        Deed::AutoPause,
        Deed::Authenticate,
        Deed::Post,
        Deed::PostTo,
        Deed::Dial,
        Deed::HandleDial,
        Deed::Detach,
        Deed::Adopt,
        Deed::HandleAdopt,
        Deed::Answer,
        Deed::Watch,
        Deed::Unwatch,
        Deed::Idle,
        Deed::Close,
        Deed::HandleClose,
        Deed::Reset,
        Deed::HandleReset,
        Deed::Panic,
    ];

    /// Nothing that was accepted is lost by it.
    pub(super) fn is_gentle(self) -> bool {
        use Deed::*;
        !matches!(self, Idle | Close | HandleClose | Reset | HandleReset | Panic)
    }

    /// How rare it is among the deeds of a callback, once in so many times.
    pub(super) fn rarity(self) -> usize {
        use Deed::*;
        match self {
            Echo | Adopt | HandleAdopt | Answer => 1,
            Finish | HandleFinish | ShutWrite | Close | HandleClose | Reset | HandleReset => 12,
            Panic | Dial | HandleDial | HandleBroadcast | Broadcast => 6,
            Flood | FinishAll => 30,
            Detach | Idle | AutoPause | Pause | Hold => 3,
            _ => 2,
        }
    }
}
