/// The exchanges of one worker that are not over, for those who ask what it does. Taking one up and letting it go costs a few
/// stores; only questions walk the list.
struct LiveExchanges {
    /// Where an exchange stands in the list.
    typealias Slot = Int

    private var slots: [Exchange?] = []
    private var free: [Slot] = []
    private(set) var count = 0

    mutating func add(_ exchange: Exchange) -> Slot {
        count += 1
        if let slot = free.popLast() {
            slots[slot] = exchange
            return slot
        }
        slots.append(exchange)
        return slots.count - 1
    }

    mutating func remove(_ slot: Slot) {
        guard slots.indices.contains(slot), slots[slot] != nil else { return }
        slots[slot] = nil
        free.append(slot)
        count -= 1
    }

    func forEach(_ body: (Exchange) -> Void) {
        for exchange in slots { if let exchange { body(exchange) } }
    }

    func first(where isWanted: (Exchange) -> Bool) -> Exchange? {
        for exchange in slots { if let exchange, isWanted(exchange) { return exchange } }
        return nil
    }
}
