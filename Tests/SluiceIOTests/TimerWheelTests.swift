import SluiceBytes
import SluiceIO
import Testing

@Suite struct TimerWheelTests {
    private func at(_ milliseconds: UInt64) -> Instant { Instant(nanoseconds: 0) + .milliseconds(milliseconds) }

    private func expire(_ wheel: inout TimerWheel, _ milliseconds: UInt64) -> [TimerID] {
        var due: [TimerID] = []
        wheel.expire(now: at(milliseconds), into: &due)
        return due
    }

    @Test(arguments: [1, 4, 5, 1000, 16_380, 16_384, 16_388, 60_000, 600_000] as [UInt64])
    func firesNotBeforeAndSoonAfter(delay: UInt64) {
        var wheel = TimerWheel(now: at(0))
        let timer = wheel.schedule(at: at(delay))
        var now: UInt64 = 0
        while true {
            guard let wait = wheel.delay(from: at(now)) else { break }
            now += UInt64(max(1, wait))
            let due = expire(&wheel, now)
            if due.isEmpty { continue }
            #expect(due == [timer])
            #expect(now >= delay && now <= delay + 5)
            break
        }
        #expect(wheel.count == 0)
    }

    @Test func moveLaterAndEarlier() {
        var wheel = TimerWheel(now: at(0))
        let timer = wheel.schedule(at: at(100))
        wheel.move(timer, to: at(500))
        #expect(expire(&wheel, 200).isEmpty)
        wheel.move(timer, to: at(250))
        #expect(expire(&wheel, 260) == [timer])
        #expect(wheel.count == 0)
    }

    @Test func cancelledOnesAreGoneAndTheirPlacesReused() {
        var wheel = TimerWheel(now: at(0))
        let first = wheel.schedule(at: at(50))
        wheel.cancel(first)
        let second = wheel.schedule(at: at(50))
        #expect(first != second)
        wheel.cancel(first)
        wheel.move(first, to: at(1))
        #expect(expire(&wheel, 60) == [second])
        #expect(!wheel.isSet(second))
    }

    @Test func anyMixFiresEachOnceInItsTime() {
        var wheel = TimerWheel(now: at(0))
        var deadlines: [TimerID: UInt64] = [:]
        var seed: UInt64 = 99
        var now: UInt64 = 0
        func next(_ bound: UInt64) -> UInt64 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (seed >> 33) % bound
        }
        for _ in 0..<20_000 {
            switch next(4) {
            case 0, 1:
                let deadline = now + 1 + next(40_000)
                deadlines[wheel.schedule(at: at(deadline))] = deadline
            case 2:
                if let timer = deadlines.keys.first {
                    let deadline = now + 1 + next(40_000)
                    wheel.move(timer, to: at(deadline))
                    deadlines[timer] = deadline
                }
            default:
                now += next(200)
                for timer in expire(&wheel, now) {
                    let deadline = deadlines.removeValue(forKey: timer)
                    #expect(deadline != nil && deadline ?? .max <= now)
                }
                #expect(deadlines.values.allSatisfy { $0 + 4 > now })
            }
        }
        #expect(wheel.count == deadlines.count)
    }
}
