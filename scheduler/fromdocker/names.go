package fromdocker

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// Names that are made up are of docker's form, adjective_surname. Ours are of those who made music.
var (
	adjectives = strings.Fields(`agile amiable animated ardent brave bright brilliant calm candid cantabile cheerful clear clever
		composed daring delicate dolce dreamy eager earnest easy elegant festive fiery flowing gentle giocoso glowing graceful grand
		happy hearty hopeful intrepid jolly jovial joyful keen kind lively loyal lucid lyrical maestoso mellow merry mild misty
		modest musing nimble noble patient placid playful polite proud quick quiet radiant resolute restless rustic serene sharp
		silent sincere singing solemn spirited steady sublime subtle sunny swift tender tranquil upbeat valiant vibrant vivid warm
		wistful witty zealous`)
	surnames = strings.Fields(`albeniz albinoni allegri argerich armstrong bach bacewicz barber bartok beach beethoven bellini berio
		berlioz bernstein bingen bizet borodin boulanger boulez brahms britten bruch bruckner bull buxtehude byrd caccini callas
		carter caruso casals chaminade chopin clarke coltrane copland corelli couperin crumb davis debussy delius dowland dufay
		dukas dvorak elgar ellington enescu farrenc faure fitzgerald franck frescobaldi gershwin gesualdo gibbons glass glinka
		gluck gould grieg gubaidulina handel haydn henze hildegard hindemith holiday holst honegger ives janacek joplin josquin
		kaija kodaly kreisler kurtag lasso ligeti liszt lully lutoslawski machaut mahler martinu massenet mendelssohn menuhin
		messiaen milhaud mingus monk monteverdi mozart mussorgsky nielsen nono obrecht ockeghem offenbach oistrakh orff pachelbel
		paganini palestrina parker part penderecki pergolesi piazzolla poulenc price prokofiev puccini purcell rameau ravel reger
		reich respighi richter rossini rubinstein saariaho satie scarlatti schnittke schoenberg schubert schumann schutz scriabin
		shostakovich sibelius simone smetana smyth stockhausen strauss stravinsky strozzi szymanowska tailleferre takemitsu tallis
		tartini tchaikovsky telemann tippett ustvolskaya varese verdi viardot victoria vivaldi wagner walton webern weill wolf
		xenakis`)
)

// Name makes up a name that is free.
func Name(free func(string) bool) string {
	for try := 0; ; try++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + surnames[rand.IntN(len(surnames))] //nolint:gosec // no secret
		if try > 0 {
			name += strconv.Itoa(try) // as docker: the more are taken, the longer
		}
		if free(name) {
			return name
		}
	}
}
