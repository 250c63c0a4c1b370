import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

/// The machine with a clock that only the test moves.
private struct Trial {
    var machine: ManagedProcess
    var now = Instant(nanoseconds: 1_000_000_000_000)

    init(_ change: (inout ProcessSpec) -> Void = { _ in }) {
        var spec = ProcessSpec(command: ["model"])
        spec.backoff = .seconds(1)
        spec.maxBackoff = .seconds(8)
        spec.ready.timeout = .seconds(60)
        spec.ready.interval = .milliseconds(500)
        change(&spec)
        machine = ManagedProcess(spec)
    }

    mutating func pass(_ time: Interval) { now = now + time }

    mutating func tell(_ event: ManagedProcess.Event) -> [ManagedProcess.Action] { machine.handle(event, at: now) }

    /// What only the test's later steps need.
    mutating func tell(_ events: [ManagedProcess.Event]) { for event in events { _ = tell(event) } }

    /// Moves the clock to the machine's own deadline, and says how far that was.
    mutating func passToDeadline() -> Interval {
        let passed = machine.deadline - now
        now = max(now, machine.deadline)
        return passed
    }

    static let launched: [ManagedProcess.Event] = [.start, .portFree, .launched(pid: 7)]
    static let ready = launched + [.checked(isReady: true)]
}

@Suite struct ManagedProcessTests {
    private let crash = ExitStatus.code(1)

    @Test func itIsAskedUntilItIsReady() {
        var trial = Trial()
        #expect(trial.machine.availability == .starting)
        #expect(trial.tell(.start) == [.probe])
        #expect(trial.tell(.portFree) == [.launch])
        #expect(trial.tell(.launched(pid: 7)) == [.report(.started(pid: 7)), .check])
        #expect(trial.machine.pid == 7 && trial.machine.availability == .starting)
        #expect(trial.tell(.checked(isReady: false)) == [])
        #expect(trial.passToDeadline() == .milliseconds(500))
        #expect(trial.tell(.timer) == [.check])
        trial.pass(.seconds(2))
        #expect(trial.tell(.checked(isReady: true)) == [.report(.ready(after: .milliseconds(2500)))])
        #expect(trial.machine.availability == .ready && trial.machine.deadline == .distantFuture)
        #expect(trial.machine.state == .ready && trial.machine.restarts == 0)
    }

    @Test func somebodyElsesPortIsWaitedFor() {
        var trial = Trial()
        trial.tell([.start])
        #expect(trial.tell(.portTaken) == [.report(.portTaken)])
        for _ in 0..<3 {
            #expect(trial.passToDeadline() == .seconds(1))
            #expect(trial.tell(.timer) == [.probe])
            #expect(trial.tell(.portTaken) == [], "it is told once")
        }
        #expect(trial.machine.availability == .starting)
        trial.tell([.timer])
        _ = trial.passToDeadline()
        #expect(trial.tell(.timer) == [.probe])
        #expect(trial.tell(.portFree) == [.launch])
    }

    @Test func aCrashOfWhatWasReadyIsWorthWaitingFor() {
        var trial = Trial()
        trial.tell(Trial.ready)
        trial.pass(.seconds(3))
        let report = ManagedProcess.Report.exited(crash, after: .seconds(3), restart: .seconds(1), wasAsked: false)
        #expect(trial.tell(.exited(crash)) == [.report(report)])
        #expect(trial.machine.availability == .starting)
        trial.pass(.milliseconds(400))
        #expect(trial.tell(.gone) == [], "what it left behind took part of the pause")
        #expect(trial.machine.state == .backoff && trial.machine.pid == nil)
        #expect(trial.passToDeadline() == .milliseconds(600))
        #expect(trial.tell(.timer) == [.probe])
        #expect(trial.tell(.portFree) == [.launch])
        #expect(trial.machine.restarts == 1)
    }

    @Test func aFailedStartIsNot() {
        var trial = Trial()
        trial.tell([.start, .portFree])
        #expect(trial.tell(.launchFailed("exec: no")) == [.report(.failed("exec: no", restart: .seconds(1)))])
        let until = trial.now + .seconds(1)
        #expect(trial.machine.availability == .unavailable(until: until, why: "exec: no"))
        #expect(trial.tell(.gone) == [])
        #expect(trial.machine.availability == .unavailable(until: until, why: "exec: no"))
        _ = trial.passToDeadline()
        #expect(trial.tell(.timer) == [.probe])
        #expect(trial.machine.availability == .starting, "who comes while it starts waits")
    }

    @Test func pausesDoubleUpToTheLongest() {
        var trial = Trial()
        trial.tell([.start])
        for seconds in [1, 2, 4, 8, 8, 8] as [UInt64] {
            trial.tell([.portFree, .launched(pid: 7), .exited(crash), .gone])
            #expect(trial.passToDeadline() == .seconds(seconds))
            trial.tell([.timer])
        }
    }

    @Test func aRunThatWasReadyForLongBeginsAnew() {
        var trial = Trial()
        trial.tell([.start])
        func pause(readyFor time: Interval) -> Interval {
            trial.tell([.portFree, .launched(pid: 7), .checked(isReady: true)])
            trial.pass(time)
            trial.tell([.exited(crash), .gone])
            let pause = trial.passToDeadline()
            trial.tell([.timer])
            return pause
        }
        #expect(pause(readyFor: .seconds(7)) == .seconds(1))
        #expect(pause(readyFor: .seconds(7)) == .seconds(2))
        #expect(pause(readyFor: .seconds(8)) == .seconds(1))
        #expect(pause(readyFor: .zero) == .seconds(2))
    }

    @Test func noPauseIsSoShortThatItWouldSpin() {
        var trial = Trial { ($0.backoff, $0.maxBackoff) = (.zero, .zero) }
        trial.tell(Trial.launched + [.exited(crash), .gone])
        #expect(trial.passToDeadline() == .milliseconds(100))
    }

    @Test func pausesDoNotOverflow() {
        var trial = Trial { ($0.backoff, $0.maxBackoff) = (.seconds(1), Interval(nanoseconds: .max)) }
        trial.tell([.start])
        for _ in 0..<200 {
            trial.tell([.portFree, .launchFailed("no"), .gone])
            trial.now = Instant(nanoseconds: 0)
            _ = trial.passToDeadline()
            trial.tell([.timer])
        }
        #expect(trial.machine.restarts > 30)
    }

    @Test func whatEndsWellIsNotAFailure() {
        for (restart, status, isRestarted) in [
            (ProcessSpec.Restart.onFailure, ExitStatus.code(0), false), (.onFailure, .code(2), true),
            (.onFailure, .signal(15), true), (.always, .code(0), true), (.never, .code(2), false),
        ] {
            var trial = Trial { $0.restart = restart }
            trial.tell(Trial.ready + [.exited(status), .gone])
            #expect((trial.machine.state == .backoff) == isRestarted, "\(restart) \(status)")
            if isRestarted { continue }
            let why = "it ended with \(status)"
            #expect(trial.machine.availability == .unavailable(until: nil, why: why))
            #expect(trial.machine.deadline == .distantFuture && trial.machine.state == .failed)
            #expect(trial.tell(.revive) == [.probe])
        }
    }

    @Test func aSecondChanceMayComeBeforeTheRunIsOver() {
        var trial = Trial { $0.restart = .never }
        trial.tell(Trial.ready + [.exited(crash)])
        #expect(trial.tell(.revive) == [])
        #expect(trial.tell(.gone) == [.probe])
        var other = Trial()
        other.tell(Trial.ready)
        #expect(other.tell(.revive) == [] && other.machine.availability == .ready, "nothing to revive")
    }

    @Test func whatDoesNotGetReadyIsEnded() {
        var trial = Trial()
        trial.tell(Trial.launched)
        #expect(trial.passToDeadline() == .seconds(60), "a check that never answers is no excuse")
        #expect(trial.tell(.timer) == [.report(.notReady(after: .seconds(60))), .stop])
        #expect(trial.tell(.checked(isReady: true)) == [], "too late")
        let ended = ManagedProcess.Report.exited(
            .signal(15), after: .seconds(60), restart: .seconds(1), wasAsked: true)
        #expect(trial.tell(.exited(.signal(15))) == [.report(ended)])
        #expect(trial.tell(.gone) == [])
        #expect(trial.machine.state == .backoff)
    }

    @Test func withoutALimitItMayTakeForEver() {
        var trial = Trial { $0.ready.timeout = .zero }
        trial.tell(Trial.launched)
        #expect(trial.machine.deadline == .distantFuture)
    }

    @Test func itStopsFromAnyPhase() {
        let phases: [([ManagedProcess.Event], isRunning: Bool)] = [
            ([], false), ([.start], false), ([.start, .portTaken], false), ([.start, .portFree], true),
            (Trial.launched, true), (Trial.ready, true), (Trial.ready + [.exited(.code(1)), .gone], false),
        ]
        for (events, isRunning) in phases {
            var trial = Trial()
            trial.tell(events)
            let actions = trial.tell(.stop)
            if isRunning {
                #expect(actions == [.report(.stopping), .stop], "\(events)")
                #expect(trial.tell(.stop) == [])
                trial.tell([.exited(.signal(15))])
                #expect(trial.tell(.gone) == [.report(.stopped), .over], "\(events)")
            } else {
                #expect(actions.last == .over, "\(events)")
            }
            #expect(trial.tell(.stop) == [] && trial.tell(.revive) == [] && trial.tell(.start) == [], "\(events)")
            #expect(trial.machine.deadline == .distantFuture)
        }
    }

    @Test func aRunThatIsEndingAnywayIsNotFollowedByAnother() {
        var trial = Trial()
        trial.tell(Trial.ready + [.exited(crash)])
        #expect(trial.tell(.stop) == [])
        #expect(trial.tell(.gone) == [.report(.stopped), .over])
    }

    @Test func aSupervisorThatWasKilledIsNoticed() {
        var trial = Trial()
        trial.tell(Trial.ready)
        let failed = ManagedProcess.Report.failed("its supervisor has ended", restart: .seconds(1))
        #expect(trial.tell(.gone) == [.report(failed), .killGroup(pid: 7)])
        #expect(trial.machine.state == .backoff)
    }
}
