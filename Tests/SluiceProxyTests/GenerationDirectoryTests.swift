import SluiceBytes
import SluiceIO
import Testing

@testable import SluiceProxy

@Suite struct GenerationDirectoryTests {
    private func facts(_ id: String, alias: String? = nil, scope: String = "s") -> GenerationFacts {
        GenerationFacts(id: id, alias: alias, scope: scope, format: .sseText)
    }

    @Test func findsByIDAndByTheNewestOfAName() throws {
        let loop = try EventLoop()
        let directory = GenerationDirectory()
        directory.begin(facts("a", alias: "chat"), owner: loop.mailbox)
        directory.begin(facts("b", alias: "chat"), owner: loop.mailbox)
        directory.begin(facts("c", alias: "chat", scope: "other"), owner: loop.mailbox)
        #expect(directory.find(.alias("chat"), scope: "s")?.facts.id == "b")
        #expect(directory.find(.alias("chat"), scope: "other")?.facts.id == "c")
        #expect(directory.find(.id("a"), scope: "s")?.facts.id == "a")
        #expect(directory.find(.id("a"), scope: "other") == nil && directory.find(.id("chat"), scope: "s") == nil)
        directory.remove("a")
        #expect(directory.find(.alias("chat"), scope: "s")?.facts.id == "b")
        directory.ended("b", hasReaders: false, bytes: 1)
        #expect(directory.find(.id("b"), scope: "s")?.isEnded == true)
        directory.remove("b")
        #expect(directory.find(.alias("chat"), scope: "s") == nil && directory.count == 1)
    }

    @Test func roomIsMadeOfWhatHasEndedAndIsNotRead() throws {
        let loop = try EventLoop()
        let directory = GenerationDirectory()
        for id in ["a", "b", "c", "d"] { directory.begin(facts(id), owner: loop.mailbox) }
        _ = directory.changed(by: 400, limit: 1000)
        for id in ["b", "a", "d"] { directory.ended(id, hasReaders: id == "d", bytes: 100) }
        #expect(directory.makeRoom(400) && directory.count == 4)
        // The oldest end goes first; what runs, and what is read, stays.
        #expect(directory.makeRoom(350))
        #expect(directory.find(.id("b"), scope: "s") == nil && directory.find(.id("a"), scope: "s") != nil)
        #expect(!directory.makeRoom(150))
        #expect(directory.find(.id("a"), scope: "s") == nil && directory.count == 2)
        directory.readersChanged("d", hasReaders: false)
        #expect(directory.makeRoom(150) && directory.count == 1)
        directory.readersChanged("c", hasReaders: false)
        #expect(!directory.makeRoom(50) && directory.count == 1)
    }

    @Test func whoIsReadAgainIsNotOld() throws {
        let loop = try EventLoop()
        let directory = GenerationDirectory()
        for id in ["a", "b"] {
            directory.begin(facts(id), owner: loop.mailbox)
            directory.ended(id, hasReaders: false, bytes: 100)
        }
        _ = directory.changed(by: 200, limit: 1000)
        directory.readersChanged("a", hasReaders: true)
        directory.readersChanged("a", hasReaders: false)
        #expect(directory.makeRoom(150))
        #expect(directory.find(.id("a"), scope: "s") != nil && directory.find(.id("b"), scope: "s") == nil)
    }
}
