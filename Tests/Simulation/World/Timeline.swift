import SluiceBytes

/// Virtual time, and what is to happen in it. Nothing ever sleeps: time moves from one happening to the next.
final class Timeline {
    private struct Happening {
        let time: UInt64
        let order: UInt64
        let action: () -> Void

        func isBefore(_ other: Happening) -> Bool {
            time != other.time ? time < other.time : order < other.order
        }
    }
    /// Nanoseconds. Does not begin at zero, where differences would be hidden.
    private(set) var now: UInt64 = 1_000_000_000_000
    private var heap: [Happening] = []
    private var count: UInt64 = 0

    var instant: Instant { Instant(nanoseconds: now) }
    /// When something happens next; nil if nothing ever does.
    var next: UInt64? { heap.first?.time }

    func after(_ nanoseconds: Int, _ action: @escaping () -> Void) {
        at(now &+ UInt64(max(0, nanoseconds)), action)
    }

    /// What is asked for at the same time happens in the order of asking.
    func at(_ time: UInt64, _ action: @escaping () -> Void) {
        count &+= 1
        heap.append(Happening(time: max(time, now), order: count, action: action))
        rise(heap.count - 1)
    }

    /// Moves to `time`, letting happen what stands before it.
    func advance(to time: UInt64) {
        while let first = heap.first, first.time <= time {
            now = max(now, first.time)
            remove()
            first.action()
        }
        now = max(now, time)
    }

    /// Nothing more happens.
    func clear() { heap = [] }

    private func rise(_ start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[index].isBefore(heap[parent]) else { return }
            heap.swapAt(index, parent)
            index = parent
        }
    }

    private func remove() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            if least == index { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}

/// Nanoseconds.
func microseconds(_ count: Int) -> Int { count * 1_000 }
func milliseconds(_ count: Int) -> Int { count * 1_000_000 }
func seconds(_ count: Int) -> Int { count * 1_000_000_000 }
