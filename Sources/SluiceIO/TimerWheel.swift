import SluiceBytes

/// Names one scheduled timer; a timer that fired or was cancelled leaves an id that matches nothing.
public struct TimerID: Hashable, Sendable {
    let index: Int32
    let generation: UInt32
    public static let none = TimerID(index: -1, generation: 0)
}

/// Thousands of deadlines, O(1) to set, move and cancel. Pure: it is told the time.
///
/// One ring of slots of 4 ms. A deadline beyond the ring waits in its last slot and is placed again from there. Moving a
/// deadline later, which happens with every token, only stores it: the timer is placed again when its old slot comes up.
public struct TimerWheel {
    private struct Node {
        var deadline = Instant.distantFuture
        var next: Int32 = -1
        var previous: Int32 = -1
        var slot: Int32 = -1  // -1: not in the ring
        var generation: UInt32 = 0
    }
    private static let slotCount = 4096
    private static let tickNanoseconds: UInt64 = 4_000_000

    private var nodes: [Node] = []
    private var freeList: [Int32] = []
    private var heads = [Int32](repeating: -1, count: slotCount)
    private var occupied = [UInt64](repeating: 0, count: slotCount / 64)
    private var current: UInt64  // the tick up to which all is expired

    public init(now: Instant) { current = now.nanoseconds / Self.tickNanoseconds }

    /// Timers that are set.
    public var count: Int { nodes.count - freeList.count }

    public mutating func schedule(at deadline: Instant) -> TimerID {
        let index: Int32
        if let free = freeList.popLast() {
            index = free
        } else {
            index = Int32(truncatingIfNeeded: nodes.count)
            nodes.append(Node())
        }
        nodes[Int(index)].deadline = deadline
        link(index)
        return TimerID(index: index, generation: nodes[Int(index)].generation)
    }

    /// Does nothing if the timer fired or was cancelled.
    public mutating func move(_ timer: TimerID, to deadline: Instant) {
        guard isSet(timer) else { return }
        let earlier = deadline < nodes[Int(timer.index)].deadline
        nodes[Int(timer.index)].deadline = deadline
        if earlier {
            unlink(timer.index)
            link(timer.index)
        }
    }

    public mutating func cancel(_ timer: TimerID) {
        guard isSet(timer) else { return }
        unlink(timer.index)
        retire(timer.index)
    }

    public func isSet(_ timer: TimerID) -> Bool {
        timer.index >= 0 && timer.index < nodes.count && nodes[Int(timer.index)].generation == timer.generation
    }

    /// Milliseconds until something may be due; nil if nothing is set. May be early, is never late by more than a tick.
    public func delay(from now: Instant) -> Int32? {
        guard count > 0, let tick = nextOccupiedTick() else { return nil }
        let due = Instant(nanoseconds: tick * Self.tickNanoseconds)
        return Int32(truncatingIfNeeded: min(UInt64(Int32.max), ((due - now).nanoseconds + 999_999) / 1_000_000))
    }

    /// Takes out and returns what is due.
    public mutating func expire(now: Instant, into due: inout [TimerID]) {
        let target = now.nanoseconds / Self.tickNanoseconds
        while current < target {
            guard let next = nextOccupiedTick(), next <= target else { break }
            current = next
            drain(slot: Int(next % UInt64(Self.slotCount)), now: now, into: &due)
        }
        current = max(current, target)
    }

    private mutating func drain(slot: Int, now: Instant, into due: inout [TimerID]) {
        var index = heads[slot]
        heads[slot] = -1
        occupied[slot / 64] &= ~(1 << UInt64(slot % 64))
        while index >= 0 {
            let next = nodes[Int(index)].next
            nodes[Int(index)].slot = -1
            if nodes[Int(index)].deadline <= now {
                due.append(TimerID(index: index, generation: nodes[Int(index)].generation))
                retire(index)
            } else {
                link(index)
            }
            index = next
        }
    }

    private func nextOccupiedTick() -> UInt64? {
        let first = Int((current + 1) % UInt64(Self.slotCount))
        var word = first / 64
        var bits = occupied[word] & (~0 << UInt64(first % 64))
        for step in 0...occupied.count {
            if bits != 0 {
                let slot = word * 64 + bits.trailingZeroBitCount
                let distance = (slot - first + Self.slotCount) % Self.slotCount
                return current + 1 + UInt64(distance)
            }
            if step == occupied.count { break }
            word = (word + 1) % occupied.count
            bits = occupied[word]
        }
        return nil
    }

    private mutating func link(_ index: Int32) {
        let deadline = nodes[Int(index)].deadline.nanoseconds
        let rounded = deadline / Self.tickNanoseconds + (deadline % Self.tickNanoseconds == 0 ? 0 : 1)
        let tick = min(max(rounded, current + 1), current + UInt64(Self.slotCount - 1))
        let slot = Int(tick % UInt64(Self.slotCount))
        let head = heads[slot]
        nodes[Int(index)].next = head
        nodes[Int(index)].previous = -1
        nodes[Int(index)].slot = Int32(slot)
        if head >= 0 { nodes[Int(head)].previous = index }
        heads[slot] = index
        occupied[slot / 64] |= 1 << UInt64(slot % 64)
    }

    private mutating func unlink(_ index: Int32) {
        let node = nodes[Int(index)]
        guard node.slot >= 0 else { return }
        let slot = Int(node.slot)
        if node.previous >= 0 {
            nodes[Int(node.previous)].next = node.next
        } else {
            heads[slot] = node.next
            if node.next < 0 { occupied[slot / 64] &= ~(1 << UInt64(slot % 64)) }
        }
        if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
        nodes[Int(index)].slot = -1
    }

    private mutating func retire(_ index: Int32) {
        nodes[Int(index)].generation &+= 1
        freeList.append(index)
    }
}
